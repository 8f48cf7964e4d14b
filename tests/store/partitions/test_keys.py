"""An idempotency key makes one job, whichever months the requests fall in."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from gateway import __version__
from gateway.store.database import Database, Tx, open_database
from gateway.store.partitions.operations import turn_off, turn_on
from gateway.store.work import jobs
from tests.builders import add_tenant, id_at, new_job
from tests.partitioned import month_before
from tests.store.blocking import blocked

NOW = month_before(0).begins
LAST = month_before(1).begins


@pytest_asyncio.fixture
async def apart(partitioned_url: str) -> AsyncIterator[Database]:
    """A pool of a partitioned database."""
    db = open_database(partitioned_url, pool=4, name="tests")
    yield db
    await db.close()


async def insert(tx: Tx, tenant: UUID, key: str, id_: UUID) -> bool:
    new = new_job(tenant, id=id_, idempotency_key=key, request_hash=b"h")
    return bool(await jobs.insert(tx, [new]))


async def test_a_repeat_in_another_month_finds_the_first_job(apart: Database) -> None:
    async with apart.begin() as tx:
        tenant, other = await add_tenant(tx), await add_tenant(tx)
        first = id_at(LAST)
        assert await insert(tx, tenant, "k", first)
        for at in (NOW, LAST, LAST - timedelta(days=90), NOW + timedelta(days=900)):
            assert not await insert(tx, tenant, "k", id_at(at))
            assert [one.id for one in await jobs.earlier(tx, [(tenant, "k")])] == [first]
        assert await insert(tx, other, "k", id_at(NOW))
        assert await insert(tx, tenant, "l", id_at(NOW))


async def test_of_two_at_once_in_different_months_one_waits_and_finds_the_other(
    apart: Database,
) -> None:
    async with apart.begin() as tx:
        tenant = await add_tenant(tx)
    ids = [id_at(LAST), id_at(NOW)]

    async def second() -> tuple[bool, list[UUID]]:
        async with apart.begin() as tx:
            made = await insert(tx, tenant, "race", ids[1])
            return made, [one.id for one in await jobs.earlier(tx, [(tenant, "race")])]

    async with apart.begin() as tx:
        assert await insert(tx, tenant, "race", ids[0])
        waiting = await blocked(apart, second())
    assert await waiting == (False, [ids[0]])


async def test_after_a_rollback_the_key_is_free(apart: Database) -> None:
    async with apart.begin() as tx:
        tenant = await add_tenant(tx)
    made: list[asyncio.Task[bool]] = []

    async def second() -> bool:
        async with apart.begin() as tx:
            return await insert(tx, tenant, "k", id_at(NOW))

    async def first() -> None:
        async with apart.begin() as tx:
            assert await insert(tx, tenant, "k", id_at(LAST))
            made.append(await blocked(apart, second()))
            await tx.run("SELECT nonsense()")

    with pytest.raises(asyncpg.UndefinedFunctionError):
        await first()
    assert await made[0]


async def test_the_key_of_a_job_that_is_gone_can_be_used_again(apart: Database) -> None:
    async with apart.begin() as tx:
        tenant = await add_tenant(tx)
        first = id_at(LAST)
        assert await insert(tx, tenant, "k", first)
        await tx.run("DELETE FROM job WHERE id = $1", first)
        assert (await tx.one("SELECT count(*) FROM job_key WHERE job_id = $1", first))[0] == 0
        # As a month leaves it that was dropped a moment ago.
        await tx.run("INSERT INTO job_key VALUES ($1, 'gone', $2)", tenant, uuid7())
        again = id_at(NOW)
        assert await insert(tx, tenant, "gone", again)
        assert not await insert(tx, tenant, "gone", id_at(NOW))
        assert [one.id for one in await jobs.earlier(tx, [(tenant, "gone")])] == [again]


async def test_twenty_at_once_make_one_job(apart: Database) -> None:
    async with apart.begin() as tx:
        tenant = await add_tenant(tx)

    async def one(number: int) -> bool:
        async with apart.single() as tx:
            return await insert(tx, tenant, "many", id_at(NOW if number % 2 else LAST))

    assert sum(await asyncio.gather(*(one(number) for number in range(20)))) == 1
    async with apart.single() as tx:
        rows = await tx.rows("SELECT id FROM job WHERE idempotency_key = 'many'")
    assert len(rows) == 1


async def test_the_role_of_tenants_may_take_a_key_of_its_own_tenant(apart: Database) -> None:
    async with apart.begin() as tx:
        tenant, other = await add_tenant(tx), await add_tenant(tx)
        assert await insert(tx, other, "k", id_at(NOW))
    async with apart.of(tenant) as tx:
        assert await insert(tx, tenant, "k", id_at(LAST))
        assert not await insert(tx, tenant, "k", id_at(NOW))
        assert [row.tenant_id for row in await tx.rows("SELECT tenant_id FROM job_key")] == [tenant]


async def test_keys_outlast_the_switch_in_both_directions(
    partitioned_url: str, apart: Database
) -> None:
    async with apart.begin() as tx:
        tenant = await add_tenant(tx)
        parted = id_at(NOW)
        assert await insert(tx, tenant, "parted", parted)
    await turn_off(partitioned_url, lambda _: None)
    async with apart.begin() as tx:
        assert not await insert(tx, tenant, "parted", uuid7())
        single = uuid7()
        assert await insert(tx, tenant, "single", single)
    month = month_before(0).next.next
    await turn_on(partitioned_url, lambda _: None, month, __version__)
    async with apart.begin() as tx:
        for key, first in (("parted", parted), ("single", single)):
            assert not await insert(tx, tenant, key, id_at(month.begins))
            assert [one.id for one in await jobs.earlier(tx, [(tenant, key)])] == [first]
