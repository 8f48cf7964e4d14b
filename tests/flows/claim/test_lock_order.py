"""Who delivers and who deletes, disables or sends again take their locks in one order."""

import asyncio

from gateway.flows.bulk.deliveries import recover
from gateway.flows.deliver.endpoints import delete_endpoint, disable_endpoint
from gateway.flows.deliver.resend import resend_delivery
from tests.flows.bulk_scenes import EVER, receiver, run_all
from tests.flows.fakes import reply
from tests.flows.scenes import OTHER, owe_rows
from tests.flows.world import HOOK, World
from tests.store.blocking import blocked

_ROUNDS = 5


async def deadlocks(world: World) -> int:
    await world.run("SELECT pg_stat_clear_snapshot()")
    return await world.value(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )


async def test_who_records_failures_holds_no_delivery_while_it_waits_for_the_endpoint(
    world: World,
):
    tenant, endpoint_id = await receiver(world)
    (id_,) = await owe_rows(world, tenant, endpoint_id, 1, "pending")
    world.sender.always[HOOK] = reply(500)
    async with world.deps.db.begin() as tx:
        await tx.run("SELECT 1 FROM endpoint WHERE id = $1 FOR UPDATE", endpoint_id)
        delivering = await blocked(world.deps.db, world.deliver())
        held = await tx.run("SELECT 1 FROM delivery WHERE id = $1 FOR UPDATE NOWAIT", id_)
        assert held == 1
    assert await delivering == 1


async def test_deletions_of_failing_endpoints_meet_no_deadlock(world: World):
    before = await deadlocks(world)
    world.sender.always[HOOK] = world.sender.always[OTHER] = reply(500)
    for number in range(_ROUNDS):
        tenant, one = await receiver(world, f"t{number}")
        other = await world.endpoint(tenant, OTHER)
        for endpoint_id in (one, other):
            ids = await owe_rows(world, tenant, endpoint_id, 20, "pending")
        aside = world.other_process()
        await asyncio.gather(
            world.deliverer.claim(30),
            aside.deliverer.claim(30),
            recover(world.deps, tenant.id, None, EVER),
            resend_delivery(world.deps, tenant.id, ids[0]),
            delete_endpoint(world.deps, tenant.id, one),
            disable_endpoint(world.deps, tenant.id, other),
            return_exceptions=True,
        )
        await asyncio.gather(run_all(world), world.idle(), aside.idle())
    assert await deadlocks(world) == before
