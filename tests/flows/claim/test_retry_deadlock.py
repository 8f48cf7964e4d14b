"""Whoever loses in a deadlock is tried again, once, and nobody hears of it."""

import asyncio

import pytest

from gateway.errors import Collision, Unavailable
from gateway.flows.claim.retry_deadlock import once_more
from gateway.flows.deliver.endpoints import delete_endpoint
from tests.flows.world import HOOK, World
from tests.store.blocking import until


def failing(times: int, error: Unavailable):
    calls: list[int] = []

    @once_more
    async def flow(number: int, *, more: int) -> int:
        calls.append(number)
        if len(calls) <= times:
            raise error
        return number + more

    return flow, calls


async def test_a_collision_is_tried_once_more():
    flow, calls = failing(1, Collision("x"))
    assert await flow(1, more=2) == 3
    assert calls == [1, 1]


async def test_a_second_collision_is_told():
    flow, calls = failing(2, Collision("x"))
    with pytest.raises(Collision):
        await flow(1, more=2)
    assert calls == [1, 1]


async def test_a_database_that_is_away_is_not_asked_again():
    flow, calls = failing(1, Unavailable("x"))
    with pytest.raises(Unavailable):
        await flow(1, more=2)
    assert calls == [1]


async def test_deleting_an_endpoint_survives_a_deadlock(world: World):
    tenant = await world.tenant(hook=HOOK)
    endpoint_id = await world.value("SELECT id FROM endpoint")
    held = "SELECT pg_advisory_xact_lock(8)"
    async with world.deps.db.single() as tx:
        await tx.rows(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM pg_advisory_xact_lock(8); RETURN NEW; END $$"
        )
        await tx.rows(
            "CREATE TRIGGER slow BEFORE UPDATE ON endpoint FOR EACH ROW EXECUTE FUNCTION slow()"
        )
    async with world.deps.db.begin() as tx:
        await tx.rows("SET LOCAL deadlock_timeout = '60s'")  # so that the other one is told of it
        await tx.rows(held)
        deleting = asyncio.create_task(delete_endpoint(world.deps, tenant.id, endpoint_id))
        waits = "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
        await until(world.deps.db, waits)
        await tx.rows("SELECT FROM endpoint WHERE id = $1 FOR UPDATE", endpoint_id)
    await deleting
    async with world.deps.db.single() as tx:
        await tx.rows("DROP FUNCTION slow CASCADE")
    assert await world.value("SELECT deleted_at IS NOT NULL FROM endpoint")
