"""What keeps a change of partitions from happening, told in a sentence."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from gateway import __version__
from gateway.errors import Unavailable
from gateway.store.database import Database, open_database
from gateway.store.migration.migration_lock import LOCK
from gateway.store.migration.preflight import DatabaseRefusedError
from gateway.store.partitions.months import MonthKeeper
from gateway.store.partitions.operations import layout, maintain, turn_off, turn_on
from gateway.store.partitions.session import owner_session
from tests.builders import add_jobs, add_tenant, id_at, put
from tests.partitioned import month_before, partition_jobs

MONTH = month_before(0).next.next


def hush(_: str) -> None:
    """Nobody listens."""


@pytest_asyncio.fixture
async def plain(database_url: str) -> AsyncIterator[Database]:
    """A pool of the module's database, whose jobs are in one table at both ends of the test."""
    await turn_off(database_url, hush)
    db = open_database(database_url, pool=2, name="tests")
    yield db
    async with db.begin() as tx:
        await tx.run("DELETE FROM job")
    await db.close()
    await turn_off(database_url, hush)


async def test_the_layout_of_both_modes(database_url: str, plain: Database) -> None:
    single = await layout(database_url, hush)
    assert (single.is_on, single.to_copy, single.late, single.unfinished) == (
        False,
        0,
        False,
        False,
    )
    assert single.size > 0
    assert await maintain(database_url, hush, MONTH.begins, 0, dry_run=False) is None
    await partition_jobs(database_url)
    apart = await layout(database_url, hush)
    assert (apart.is_on, apart.late, len(apart.partitions)) == (True, False, 15)
    assert 0 < apart.to_copy < apart.size == sum(one.size for one in apart.partitions)
    async with plain.begin() as tx:
        await add_jobs(tx, await add_tenant(tx), id=id_at(MONTH.begins + timedelta(days=400)))
    assert (await layout(database_url, hush)).late


async def test_a_login_that_does_not_own_the_tables(database_url: str, plain: Database) -> None:
    async with plain.single() as tx:
        await tx.rows("CREATE ROLE no_owner LOGIN PASSWORD 'secret'")
        await tx.rows("GRANT gateway_tenant TO no_owner")
        await tx.rows("GRANT CREATE, USAGE ON SCHEMA public TO no_owner")
        await tx.rows("GRANT SELECT ON ALL TABLES IN SCHEMA public TO no_owner")
    parts = urlsplit(database_url)
    place = f"no_owner:secret@{parts.netloc.rpartition('@')[2]}"
    try:
        with pytest.raises(DatabaseRefusedError, match="owner") as refused:
            await turn_on(parts._replace(netloc=place).geturl(), hush, MONTH, __version__)
        assert "GATEWAY_MIGRATION_DATABASE_URL" in refused.value.hint
    finally:
        async with plain.single() as tx:
            await tx.rows("DROP OWNED BY no_owner")
            await tx.rows("DROP ROLE no_owner")
    assert not (await layout(database_url, hush)).is_on


async def test_a_database_that_is_away() -> None:
    with pytest.raises(Unavailable):
        await layout("postgresql://nobody:x@127.0.0.1:1/none", hush)


async def test_another_upgrade_that_does_not_end(
    database_url: str, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.migration.migration_lock._LONGEST_SECONDS", 0.0)
    async with plain.begin() as tx:
        await tx.rows(f"SELECT pg_advisory_xact_lock({LOCK})")
        with pytest.raises(DatabaseRefusedError, match="another upgrade holds the schema"):
            await layout(database_url, hush)


async def test_a_lock_that_never_comes(
    database_url: str, plain: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_TRIES", 1), ("LOCK_SECONDS", 1), ("_REST_SECONDS", 0.0)):
        monkeypatch.setattr(f"gateway.store.partitions.session.{name}", value)
    async with plain.begin() as tx:
        await tx.rows("SELECT 1 FROM job")
        with pytest.raises(DatabaseRefusedError, match="a lock did not come"):
            await turn_on(database_url, hush, MONTH, __version__)
    assert not (await layout(database_url, hush)).unfinished


async def test_a_table_that_is_in_the_way(database_url: str, plain: Database) -> None:
    async with plain.single() as tx:
        await tx.rows("CREATE TABLE job_default (id uuid)")
    try:
        with pytest.raises(DatabaseRefusedError, match='"job_default" already exists'):
            await turn_on(database_url, hush, MONTH, __version__)
    finally:
        async with plain.single() as tx:
            await tx.rows("DROP TABLE job_default")
    found = await layout(database_url, hush)
    assert (found.is_on, found.unfinished) == (False, False)


class _Meddling:
    """A session beside which somebody opens a job of the month that is about to go."""

    def __init__(self, session: Any, url: str) -> None:
        self._session = session
        self._url = url
        self._locks = 0

    async def execute(self, sql: str) -> Any:
        self._locks += sql.startswith("LOCK TABLE job,")
        if self._locks == 2:  # the first to go are the jobs from before all months
            self._locks += 1
            other = await asyncpg.connect(self._url.replace("+asyncpg", ""))
            await other.execute("UPDATE job SET upstream_delete_at = now()")
            await other.close()
        return await self._session.execute(sql)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


async def test_a_month_that_is_needed_again_in_the_last_moment_stays(
    database_url: str, plain: Database
) -> None:
    await partition_jobs(database_url)
    async with plain.begin() as tx:
        (job,) = await add_jobs(tx, await add_tenant(tx), id=id_at(month_before(1).begins))
        await put(tx, "job", job, state="succeeded")
    now = month_before(0).begins + timedelta(days=2)
    async with owner_session(database_url, hush) as session:
        keeper = MonthKeeper(_Meddling(session, database_url), hush, now, 1)
        await keeper.maintain(dry_run=False)
    async with plain.single() as tx:
        assert len(await tx.rows("SELECT id FROM job")) == 1
