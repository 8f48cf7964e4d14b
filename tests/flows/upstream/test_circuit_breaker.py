"""The health of a credential that is well and stays so; its troubles are in the tests of verbs."""

from gateway.flows.upstream.circuit_breaker import CredentialHealth, is_failing, judge_credential
from gateway.ports import Busy, Denied, Submitted, UpstreamProblem
from tests.flows.world import HOOK, World


async def standing_of(world: World, **changes: object) -> CredentialHealth:
    credential = await world.health()
    given = {"failures": 0, "rejected": False} | changes
    return CredentialHealth(
        credential.id,
        credential.tenant_id,
        credential.version,
        **given,  # pyright: ignore[reportArgumentType]
    )


async def judged(world: World, standing: CredentialHealth, *answers: object) -> float:
    async with world.deps.db.begin() as tx:
        return await judge_credential(tx, world.deps, standing, answers)


async def test_a_clear_answer_costs_a_credential_that_is_well_no_write(world: World):
    await world.tenant()
    before = await world.value("SELECT xmin::text FROM credential")
    standing = await standing_of(world)
    assert not is_failing(standing)
    assert await judged(world, standing, Submitted("x"), None) == 0.0
    assert await world.value("SELECT xmin::text FROM credential") == before


async def test_a_clear_answer_makes_an_unwell_one_well(world: World):
    await world.tenant()
    await judged(world, await standing_of(world), Busy("busy"))
    assert (await world.health()).failures == 1
    assert await judged(world, await standing_of(world, failures=1), Submitted("x")) == 0.0
    assert (await world.health()).failures == 0
    assert (await world.health()).rest == 0


async def test_a_rejection_outweighs_everything_else_and_is_told_once(world: World):
    await world.tenant(hook=HOOK)
    denied = Denied(402, UpstreamProblem("PAYMENT", "Payment", "No credit."))
    for _ in range(2):
        rest = await judged(world, await standing_of(world), Submitted("x"), Busy("busy"), denied)
        assert rest == 300.0
    assert await world.event_types() == ["credential.rejected"]
    assert (await world.health()).failures == 0
