"""Months are made ahead of time, and go once nothing in them is kept."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from gateway.core.months import PartitionMonth
from gateway.store import diagnostics
from gateway.store.database import Database, Tx, open_database
from gateway.store.partitions.months import Maintained
from gateway.store.partitions.operations import maintain, turn_off
from gateway.store.usage import drift, rollups
from gateway.store.work import jobs
from tests.builders import add_jobs, add_tenant, id_at, new_job, put
from tests.partitioned import month_before, partition_jobs

LAST = month_before(1)
KEPT = 60


@pytest_asyncio.fixture
async def months(database_url: str) -> AsyncIterator[Database]:
    """A pool of a database that was partitioned from the last month on, without rows."""
    await partition_jobs(database_url)
    db = open_database(database_url, pool=2, name="tests")
    yield db
    async with db.begin() as tx:
        for table in ("job", "job_event", "usage_horizon", "tenant_load"):
            await tx.run(f"DELETE FROM {table}")
    await db.close()
    await turn_off(database_url, lambda _: None)


async def run(url: str, now: datetime, keep: int = KEPT, *, dry_run: bool = False) -> Maintained:
    done = await maintain(url, lambda _: None, now, keep, dry_run=dry_run)
    assert done is not None
    return done


async def ended(tx: Tx, tenant: UUID, at: datetime, **fields: Any) -> UUID:
    (job,) = await add_jobs(tx, tenant, id=id_at(at), **fields)
    await put(tx, "job", job, state="succeeded")
    await tx.run("UPDATE job SET completed_at = $2 WHERE id = $1", job, at + timedelta(hours=1))
    return job


async def suffixes(db: Database) -> list[str]:
    async with db.single() as tx:
        rows = await tx.rows(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
            " WHERE inhparent = 'job'::regclass ORDER BY 1"
        )
    return [row.name.removeprefix("job_") for row in rows]


async def test_the_next_months_are_made_and_a_second_run_makes_none(
    database_url: str, months: Database
) -> None:
    now = month_before(0).begins + timedelta(days=10)
    done = await run(database_url, now, dry_run=True)
    made = [LAST.next.next.next, LAST.next.next.next.next]
    assert done.made == made
    assert made[0].name not in await suffixes(months)
    assert (await run(database_url, now)).made == made
    assert {one.name for one in made} <= set(await suffixes(months))
    assert (await run(database_url, now)).made == []


async def test_a_month_goes_whole_with_labels_notes_and_keys(
    database_url: str, months: Database
) -> None:
    async with months.begin() as tx:
        tenant = await add_tenant(tx)
        old = await ended(
            tx, tenant, LAST.begins - timedelta(days=3), idempotency_key="old", request_hash=b"h"
        )
        gone = await ended(tx, tenant, LAST.begins, idempotency_key="gone", request_hash=b"h")
        await tx.run(
            "INSERT INTO job_event (id, tenant_id, job_id, type, detail)"
            " VALUES (gen_random_uuid(), $1, $2, 't', '')",
            tenant,
            gone,
        )
        kept = await ended(tx, tenant, LAST.next.begins, idempotency_key="kept", request_hash=b"h")
    late = LAST.next.begins + timedelta(days=KEPT)
    early = await run(database_url, late - timedelta(minutes=1), dry_run=True)
    assert (early.dropped, early.oldest) == (["old"], LAST.name)
    assert early.because == "a tenant keeps jobs of it"
    done = await run(database_url, late)
    assert list(done.dropped) == ["old", LAST.name]
    assert not {"old", LAST.name} & set(await suffixes(months))
    async with months.begin() as tx:
        found = {
            table: await tx.rows(f"SELECT DISTINCT {key} FROM {table}")
            for table, key in (
                ("job", "id"),
                ("job_label", "job_id"),
                ("job_event", "job_id"),
                ("job_key", "job_id"),
            )
        }
        assert {name: [row[0] for row in rows] for name, rows in found.items()} == {
            "job": [kept],
            "job_label": [kept],
            "job_event": [],
            "job_key": [kept],
        }
        left = await tx.rows("SELECT relname FROM pg_class WHERE relname LIKE 'job%old'")
        assert left == []
        (horizon,) = await tx.rows("SELECT until FROM usage_horizon WHERE tenant_id = $1", tenant)
        assert horizon.until == LAST.begins + timedelta(hours=1)
        # A key whose job went can be used again, and one whose job stays cannot.
        assert await jobs.find(tx, tenant, old) is None
        for key, is_free in (("old", True), ("gone", True), ("kept", False)):
            again = new_job(tenant, idempotency_key=key, request_hash=b"h")
            assert bool(await jobs.insert(tx, [again])) == is_free


async def test_a_tenant_that_keeps_longer_or_for_ever_keeps_the_month(
    database_url: str, months: Database
) -> None:
    now = LAST.next.begins + timedelta(days=KEPT + 1)
    async with months.begin() as tx:
        tenant, other = await add_tenant(tx), await add_tenant(tx)
        await ended(tx, tenant, LAST.begins)
        await put(tx, "tenant", other, keep_jobs=0)
    assert LAST.name in (await run(database_url, now, dry_run=True)).dropped
    for days in (0, KEPT + 2):
        async with months.begin() as tx:
            await put(tx, "tenant", tenant, keep_jobs=days)
        done = await run(database_url, now)
        assert done.oldest == LAST.name
    async with months.begin() as tx:
        await put(tx, "tenant", tenant, keep_jobs=KEPT)
    assert LAST.name in (await run(database_url, now)).dropped


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ("state = 'running', completed_at = NULL", "a job of it, or an older one, is open"),
        ("upstream_delete_at = now()", "a job of it must still be deleted upstream"),
    ],
)
async def test_work_that_is_not_done_keeps_the_month(
    database_url: str, months: Database, change: str, because: str
) -> None:
    async with months.begin() as tx:
        tenant = await add_tenant(tx)
        job = await ended(tx, tenant, LAST.begins)
        await tx.run(f"UPDATE job SET {change} WHERE id = $1", job)
    done = await run(database_url, LAST.next.begins + timedelta(days=KEPT + 1))
    assert (done.oldest, done.because) == (LAST.name, because)


async def test_a_month_that_nobody_made_in_time_is_made_and_takes_its_jobs(
    database_url: str, months: Database
) -> None:
    later = PartitionMonth.of(LAST.begins + timedelta(days=150))
    async with months.begin() as tx:
        tenant = await add_tenant(tx)
        (job,) = await add_jobs(tx, tenant, id=id_at(later.begins), batch_name="b")
        load = await tx.rows("SELECT * FROM tenant_load")
        facts = await diagnostics.partitions(tx)
    assert (facts.is_late, facts.is_unfinished) == (True, False)
    await run(database_url, later.begins)
    async with months.begin() as tx:
        rows = await tx.rows("SELECT tableoid::regclass::text FROM job WHERE id = $1", job)
        assert [row[0] for row in rows] == [f"job_{later.name}"]
        labels = await tx.rows("SELECT DISTINCT tableoid::regclass::text FROM job_label")
        assert [row[0] for row in labels] == [f"job_label_{later.name}"]
        assert await tx.rows("SELECT * FROM tenant_load") == load
        assert not (await diagnostics.partitions(tx)).is_late


async def test_a_month_that_was_taken_off_before_a_crash_is_dropped_by_the_next_run(
    database_url: str, months: Database
) -> None:
    comment = "the gateway drops this table: its jobs are past their retention"
    async with months.begin() as tx:
        tenant = await add_tenant(tx)
        gone = await ended(tx, tenant, LAST.begins, idempotency_key="k", request_hash=b"h")
        for table in ("job", "job_label", "job_event"):
            name = f"{table}_{LAST.name}"
            await tx.rows(f"ALTER TABLE {table} DETACH PARTITION {name}")
            await tx.rows(f"COMMENT ON TABLE {name} IS '{comment}'")
    await run(database_url, datetime.now(UTC))
    async with months.begin() as tx:
        assert await jobs.find(tx, tenant, gone) is None
        assert await tx.rows("SELECT 1 FROM job_key") == []
        assert await tx.rows("SELECT 1 FROM pg_class WHERE relname = $1", f"job_{LAST.name}") == []


async def test_usage_is_not_drifting_after_a_month_went(
    database_url: str, months: Database
) -> None:
    async with months.begin() as tx:
        tenant = await add_tenant(tx)
        gone = await ended(tx, tenant, LAST.begins)
        kept = await ended(tx, tenant, LAST.next.begins + timedelta(days=2))
        await rollups.add_jobs(tx, [gone, kept])
    await run(database_url, LAST.next.begins + timedelta(days=KEPT + 1))
    async with months.begin() as tx:
        since = LAST.begins - timedelta(days=1)
        assert await drift.drift(tx, tenant, since, since + timedelta(days=60)) == []
        assert len(await tx.rows("SELECT id FROM job")) == 1
