"""The switch to partitions and back, with the data in place."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from gateway import __version__
from gateway.core.months import PartitionMonth
from gateway.errors import Unavailable
from gateway.store.database import Database, open_database
from gateway.store.migration.migrate import downgrade_schema, upgrade_schema
from gateway.store.migration.preflight import DatabaseRefusedError
from gateway.store.partitions import operations
from gateway.store.partitions.operations import layout, maintain, turn_off, turn_on
from gateway.store.partitions.switch_on import month_to_begin
from gateway.store.work import jobs, submits
from tests.builders import add_jobs, add_tenant, claim_jobs, id_at
from tests.partitioned import month_before, partition_jobs

NOW = PartitionMonth.of(datetime.now().astimezone()).begins
# Everything that the three tables, their partitions and their keys are made of.
_MADE_OF = """
SELECT tablename || ' ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT tgrelid::regclass || ' ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT concat(oid::regclass, ' ', reloptions, relacl, relrowsecurity, relforcerowsecurity, relowner,
    relreplident) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
UNION ALL SELECT concat(tablename, ' ', policyname, roles, qual, with_check) FROM pg_policies
UNION ALL SELECT concat(conrelid::regclass, ' ', conname, pg_get_constraintdef(oid)) FROM pg_constraint
UNION ALL SELECT concat(attrelid::regclass, ' ', attname, attnotnull, format_type(atttypid, atttypmod))
  FROM pg_attribute WHERE attrelid IN ('job'::regclass, 'job_label'::regclass, 'job_event'::regclass)
    AND attnum > 0
UNION ALL SELECT concat('default ', adrelid::regclass, ' ', pg_get_expr(adbin, adrelid)) FROM pg_attrdef
UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
ORDER BY 1"""


def hush(_: str) -> None:
    """Nobody listens."""


@pytest_asyncio.fixture
async def plain(database_url: str) -> AsyncIterator[Database]:
    """A pool of the module's database, whose jobs are in one table at both ends of the test."""
    await turn_off(database_url, hush)
    db = open_database(database_url, pool=3, name="tests")
    yield db
    async with db.begin() as tx:
        await tx.run("DELETE FROM job")
        await tx.run("DELETE FROM job_event")
    await db.close()
    await turn_off(database_url, hush)


async def made_of(db: Database) -> list[str]:
    async with db.single() as tx:
        return [row[0] for row in await tx.rows(_MADE_OF)]


async def places(db: Database) -> dict[UUID, str]:
    """The table that each job is in."""
    async with db.single() as tx:
        rows = await tx.rows("SELECT id, tableoid::regclass::text AS place FROM job ORDER BY id")
    found = {row.id: row.place for row in rows}
    assert len(found) == len(rows)
    return found


async def test_there_and_back_leaves_the_schema_as_it_was(
    database_url: str, plain: Database
) -> None:
    before = await made_of(plain)
    assert await turn_on(database_url, hush, month_to_begin(NOW), __version__) is not None
    assert await made_of(plain) != before
    assert await turn_on(database_url, hush, month_to_begin(NOW), __version__) is None
    assert await turn_off(database_url, hush) is not None
    assert await made_of(plain) == before
    assert await turn_off(database_url, hush) is None


async def test_no_job_is_copied_lost_or_doubled(database_url: str, plain: Database) -> None:
    async with plain.begin() as tx:
        tenant = await add_tenant(tx)
        old = await add_jobs(tx, tenant, 20, batch_name="b")
        file = (await tx.one("SELECT pg_relation_filenode('job')"))[0]
    await turn_on(database_url, hush, month_to_begin(NOW), __version__)
    assert await places(plain) == dict.fromkeys(sorted(old), "job_old")
    later = month_to_begin(NOW).begins
    async with plain.begin() as tx:
        assert (await tx.one("SELECT pg_relation_filenode('job_old')"))[0] == file
        (month,) = await add_jobs(tx, tenant, id=id_at(later))
        (rest,) = await add_jobs(tx, tenant, id=id_at(later + timedelta(days=400)))
        claimed = await claim_jobs(tx, 100)
    assert {job.id for job in claimed} == {*old, month, rest}
    found = await places(plain)
    assert (found[month], found[rest]) == (f"job_{month_to_begin(NOW).name}", "job_default")
    await turn_off(database_url, hush)
    assert await places(plain) == dict.fromkeys(found, "job")
    async with plain.single() as tx:
        labels = await tx.rows("SELECT job_id, count(*) FROM job_label GROUP BY 1")
        load = await tx.one("SELECT sum(waiting), sum(in_flight) FROM tenant_load")
    assert {row.job_id for row in labels} == set(found)
    assert tuple(load) == (0, 22)


async def test_partitions_have_what_the_table_had(database_url: str, plain: Database) -> None:
    await partition_jobs(database_url)
    async with plain.single() as tx:
        rows = await tx.rows(
            """
SELECT p.relname AS of, c.relname AS name, c.reloptions, c.relforcerowsecurity AS forced,
  (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) AS policies,
  (SELECT count(*) FROM pg_index WHERE indrelid = c.oid) AS indexes
FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_class p ON p.oid = h.inhparent
WHERE p.relkind = 'p'"""
        )
    for table, count in (("job", 5), ("job_label", 5), ("job_event", 5)):
        found = [row for row in rows if row.of == table]
        assert len(found) == count
        assert len({(row.reloptions and tuple(row.reloptions), row.indexes) for row in found}) == 1
        assert {(row.forced, row.policies) for row in found} == {(True, 1)}
    assert {"fillfactor=85"} <= {one for row in rows for one in row.reloptions or ()}


async def test_a_view_of_the_jobs_is_named_and_nothing_changes(
    database_url: str, plain: Database
) -> None:
    before = await made_of(plain)
    async with plain.single() as tx:
        await tx.rows("CREATE VIEW recent AS SELECT id FROM job")
    try:
        with pytest.raises(DatabaseRefusedError, match="the view recent"):
            await turn_on(database_url, hush, month_to_begin(NOW), __version__)
    finally:
        async with plain.single() as tx:
            await tx.rows("DROP VIEW recent")
    assert await made_of(plain) == before


async def test_a_process_of_another_version_is_named(database_url: str, plain: Database) -> None:
    add = """
INSERT INTO process (id, kind, host, pid, version, started_at, seen_at, clock_ahead, redis)
VALUES ($1, 'api', 'h', 1, '0.0.9', now(), now(), 0, true)"""
    async with plain.single() as tx:
        await tx.run(add, uuid7())
    with pytest.raises(DatabaseRefusedError, match=r"version 0\.0\.9 is alive"):
        await turn_on(database_url, hush, month_to_begin(NOW), __version__)
    async with plain.single() as tx:
        await tx.run("DELETE FROM process")


class _Broken:
    """A session that ends before its n-th statement, as that of a killed command does."""

    def __init__(self, session: Any, after: int) -> None:
        self._session = session
        self._left = after

    async def execute(self, *arguments: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            self._session.terminate()
        return await self._session.execute(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


@pytest.mark.parametrize("after", [1, 3, 6, 9, 12, 30, 60, 120])
async def test_an_interrupted_switch_changes_nothing_and_can_be_run_again(
    database_url: str, plain: Database, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    async with plain.begin() as tx:
        (job,) = await add_jobs(tx, await add_tenant(tx))
    before = await made_of(plain)
    real = operations.switch_on.switch_on

    async def broken(session: Any, *arguments: Any) -> Any:
        return await real(_Broken(session, after), *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(operations.switch_on, "switch_on", broken)
        with pytest.raises((Unavailable, DatabaseRefusedError)):
            await turn_on(database_url, hush, month_to_begin(NOW), __version__)
    left = [one for one in await made_of(plain) if "_old_bound" not in one]
    assert left == before
    assert await places(plain) == {job: "job"}
    is_left = left != await made_of(plain)
    assert (await layout(database_url, hush)).unfinished == is_left
    await turn_on(database_url, hush, month_to_begin(NOW), __version__)
    assert await places(plain) == {job: "job_old"}
    await turn_off(database_url, hush)
    assert await made_of(plain) == before


async def test_what_an_interrupted_switch_left_is_taken_back(
    database_url: str, plain: Database
) -> None:
    before = await made_of(plain)
    async with plain.single() as tx:
        await tx.rows(
            f"ALTER TABLE job ADD CONSTRAINT job_old_bound CHECK (id < '{UUID(int=2**128 - 1)}')"
        )
    assert (await layout(database_url, hush)).unfinished
    await turn_off(database_url, hush)
    assert await made_of(plain) == before


async def test_the_switch_waits_briefly_for_a_lock_and_tries_again(
    database_url: str, plain: Database
) -> None:
    gave_up = asyncio.Event()

    def tell(text: str) -> None:
        if "trying again" in text:
            gave_up.set()

    async with plain.begin() as tx:
        await tx.rows("SELECT 1 FROM job")
        switching = asyncio.create_task(
            turn_on(database_url, tell, month_to_begin(NOW), __version__)
        )
        await gave_up.wait()
    assert await switching is not None


async def test_an_upgrade_does_nothing_and_a_downgrade_is_refused(
    database_url: str, plain: Database
) -> None:
    await partition_jobs(database_url)
    before = await made_of(plain)
    await asyncio.to_thread(upgrade_schema, database_url)
    with pytest.raises(DatabaseRefusedError, match="in partitions"):
        await asyncio.to_thread(downgrade_schema, database_url, "0010")
    assert await made_of(plain) == before


async def test_a_column_and_an_index_that_come_later_go_with_the_tables(
    database_url: str, plain: Database
) -> None:
    await partition_jobs(database_url)
    async with plain.begin() as tx:
        await tx.rows("ALTER TABLE job ADD COLUMN later integer")
        await tx.rows("CREATE INDEX job_later ON job (later, id)")
        await add_jobs(tx, await add_tenant(tx))
    until = month_before(0).next.next.next.begins
    done = await maintain(database_url, hush, until, 0, dry_run=False)
    assert done is not None
    assert done.made
    await turn_off(database_url, hush)
    async with plain.single() as tx:
        rows = await tx.rows("SELECT indexdef FROM pg_indexes WHERE indexname = 'job_later'")
        assert [row[0] for row in rows] == [
            "CREATE INDEX job_later ON public.job USING btree (later, id)"
        ]
        await tx.rows("ALTER TABLE job DROP COLUMN later")


async def test_an_index_is_built_on_each_partition_and_then_taken_over(
    database_url: str, plain: Database
) -> None:
    """As docs/upgrades.md tells the writers of migrations."""
    await partition_jobs(database_url)
    nodes = "SELECT relfilenode FROM pg_class WHERE relname LIKE 'job_late_%' ORDER BY relname"
    async with plain.single() as tx:
        parts = await tx.rows(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'job'::regclass"
        )
        for (part,) in parts:
            name = part.replace("job_", "job_late_", 1)
            await tx.rows(f"CREATE INDEX CONCURRENTLY {name} ON {part} (deadline_at)")
        built = await tx.rows(nodes)
        await tx.rows("CREATE INDEX job_late ON job (deadline_at)")
        assert await tx.rows(nodes) == built
        taken = await tx.one(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'job_late'::regclass"
        )
        assert taken[0] == len(parts)
        await tx.rows("DROP INDEX job_late")


async def test_a_process_that_knows_the_single_table_goes_on(
    database_url: str, plain: Database
) -> None:
    """Its prepared statements were planned before the switch, and in the other direction after it."""
    one = open_database(database_url, pool=1, name="one")

    async def use() -> None:
        async with one.begin() as tx:
            tenant = await add_tenant(tx)
            (job,) = await add_jobs(tx, tenant, idempotency_key="k", request_hash=b"h")
            assert await jobs.find(tx, tenant, job) is not None
            token = uuid7()
            assert [claimed.id for claimed in await claim_jobs(tx, token=token)] == [job]
            assert await submits.submitted(tx, [(job, token, "up")]) == {job}
            assert [one.id for one in await jobs.earlier(tx, [(tenant, "k")])] == [job]

    for _ in range(2):
        await use()
        await turn_on(database_url, hush, month_to_begin(NOW), __version__)
        await use()
        await turn_off(database_url, hush)
    await use()
    assert len(await places(plain)) == 5
    await one.close()
