"""A credential in trouble is tried with one thing, by one process, and then given room again."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.flows.process.slots import Slots
from gateway.ports import Busy, Denied, Unknown, UpstreamProblem
from tests.flows.fakes import Gate, Took
from tests.flows.world import World

DENIED = Denied(401, UpstreamProblem("UNAUTHORIZED", "Unauthorized", "Invalid API key."))
WORK: dict[str, Callable[[World], Awaitable[int]]] = {
    "submit": World.submit,
    "look up": World.look_up,
    "poll": World.poll,
}


async def with_work_for_all(world: World, *, failures: int = 5) -> None:
    """A credential whose breaker is open, and that every verb has work for."""
    tenant = await world.tenant()
    await world.at_upstream(tenant, 3)
    await world.accept(tenant, 3)
    world.upstream.will("submit", *[Took(Unknown("reset"))] * 3)
    await world.submit()
    await world.pass_time(60)
    await world.accept(tenant, 3)
    await world.run("UPDATE job SET next_at = now()")
    await world.run(
        "UPDATE credential SET failures = $1, poll_at = now(), paused_until = NULL", failures
    )
    world.upstream.calls.clear()


async def race(world: World, first: str, second: str) -> int:
    """Two processes reach for the same credential; how much they took."""
    beside = world.other_process(slots=Slots(world.clock))
    return sum(await asyncio.gather(WORK[first](world), WORK[second](beside)))


@pytest.mark.parametrize("second", WORK)
@pytest.mark.parametrize("first", WORK)
async def test_of_two_processes_and_all_verbs_one_asks_one_thing(
    world: World, first: str, second: str
):
    await with_work_for_all(world)
    world.upstream.always |= {call: Busy("busy", retry_after=60.0) for call in ("status", "page")}
    world.upstream.always["submit"] = Busy("busy", retry_after=60.0)
    assert await race(world, first, second) in (1, 3)
    assert len(world.upstream.calls) == 1
    for work in WORK.values():
        assert await work(world) == 0
    assert len(world.upstream.calls) == 1


async def test_a_poll_that_is_a_probe_asks_about_one_job_and_not_by_list(world: World):
    tenant = await world.tenant()
    await world.at_upstream(tenant, 8)
    world.upstream.move("SUCCEEDED")
    await world.run("UPDATE credential SET failures = 5")
    await world.poll_again()
    assert (world.upstream.count("page"), world.upstream.count("status")) == (0, 1)
    assert await world.states() == {"succeeded": 1, "submitted": 7}
    health = await world.health()
    assert (health.failures, health.rest) == (0, 0)
    await world.poll_again()
    assert await world.states() == {"succeeded": 8}


async def test_a_probe_that_found_nothing_to_ask_is_given_back(world: World):
    tenant = await world.tenant()
    await world.at_upstream(tenant)
    await world.run("UPDATE credential SET failures = 5")
    await world.run("UPDATE job SET next_at = now() + interval '1 minute'")
    await world.poll_again()
    assert world.upstream.count("status") == 0
    health = await world.health()
    assert (health.failures, health.rest) == (5, 0)
    await world.accept(tenant, 2)
    assert await world.submit() == 1


async def test_a_probe_that_fails_rests_longer_each_time(world: World):
    await world.accept(await world.tenant(), 3)
    await world.run("UPDATE credential SET failures = 5")
    world.upstream.always["submit"] = Busy("connection refused")
    rests = []
    for failures in (6, 7):
        assert await world.submit() == 1
        health = await world.health()
        assert health.failures == failures
        rests.append(health.rest)
        await world.pass_time(70)
    assert 15 < rests[0] < rests[1] <= 60


async def test_what_fails_during_one_rest_is_one_failure(world: World):
    await world.accept(await world.tenant(), 4)
    world.upstream.gates["submit"] = held = Gate()
    assert await world.submit_beside(1, held) == 1
    assert await world.submit_beside(1, held) == 1
    world.upstream.always["submit"] = Busy("busy", retry_after=30.0)
    held.open.set()
    world.upstream.gates.clear()
    assert await world.submit() == 2
    await world.idle()
    health = await world.health()
    assert (health.failures, health.submit_room) == (1, 50)


async def test_after_trouble_the_room_grows_with_what_goes_through(world: World):
    await world.accept(await world.tenant(), 40)
    await world.run("UPDATE credential SET failures = 3, submit_room = 2")
    rounds = []
    while claimed := await world.submit():
        rounds.append(claimed)
    assert rounds == [2, 6, 10, 14, 8]
    assert (await world.health()).failures == 0


async def test_a_room_that_grew_to_all_there_is_is_no_limit_any_more(world: World):
    tenant = await world.tenant()
    await world.run("UPDATE credential SET submit_room = 99")
    for expected in (103, None):
        await world.accept(tenant, 100)
        await world.submit()
        await world.submit()
        assert (await world.health()).submit_room in (expected, None)
    assert (await world.health()).submit_room is None


async def test_a_rejected_credential_is_polled_with_one_question_until_it_is_honoured(
    world: World,
):
    await world.at_upstream(await world.tenant(), 3)
    world.upstream.always["status"] = DENIED
    await world.poll()
    asked = world.upstream.count("status")
    await world.pass_time(301)
    assert await world.poll() == 1
    assert world.upstream.count("status") == asked + 1
    assert await world.poll() == 0
