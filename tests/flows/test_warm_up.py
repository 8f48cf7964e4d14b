"""Warm-up: what the engine runs first is known to the connections, and nothing is done by it."""

from gateway.core.model import JobState
from gateway.flows.warm_up import warm_up
from tests.flows.world import HOOK, World

_KNOWN = "SELECT statement FROM pg_prepared_statements"


async def test_the_statements_of_the_engine_are_known_before_there_is_work(world: World) -> None:
    await warm_up(world.deps)
    async with world.deps.db.single() as tx:
        known = "".join([row.statement for row in await tx.rows(_KNOWN)])
    for part in (
        "UPDATE job j SET state = u.state",
        "INSERT INTO event",
        "INSERT INTO delivery",
        "INSERT INTO attempt",
        "UPDATE delivery d SET state = u.state",
        "UPDATE credential SET poll_lease_until = NULL",
    ):
        assert part in known


async def test_warming_up_takes_no_work(world: World) -> None:
    tenant = await world.tenant()
    await world.endpoint(tenant, HOOK)
    await world.accept(tenant)
    await warm_up(world.deps)
    assert await world.states() == {JobState.ACCEPTED: 1}
    await world.submit()
    assert await world.states() == {JobState.SUBMITTED: 1}
