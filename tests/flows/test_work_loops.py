"""Sessions: one wake-up does all that is due, within the room there is and for a bounded time."""

import asyncio
from dataclasses import replace

import pytest_asyncio

from gateway.adapters.clock import PostgresClock, SystemClock
from gateway.flows.bulk.jobs import cancel_jobs
from gateway.flows.process.slots import Slots
from gateway.flows.work_loops import WorkLoops
from gateway.ports import Unknown
from gateway.store.job_search.filter import JobFilter
from tests.flows.fakes import Gate, Took
from tests.flows.world import CALLBACK, World


@pytest_asyncio.fixture(loop_scope="module")
async def sessions(world: World) -> WorkLoops:
    return WorkLoops(world.deps)


def with_policy(world: World, **changes: object) -> World:
    return world.other_process(policy=replace(world.deps.policy, **changes))


async def test_one_wake_up_submits_all_that_waits(world: World, sessions: WorkLoops):
    for slug in ("acme", "other"):
        await world.accept(await world.tenant(slug), 120)
    await sessions.submit()
    await world.idle()
    assert await world.states() == {"submitted": 240}


async def test_no_more_is_under_way_than_there_is_room_for(world: World):
    small = with_policy(world, submit_concurrency=7)
    await world.accept(await world.tenant(), 40)
    await WorkLoops(small.deps).submit()
    await world.idle()
    assert world.upstream.most_busy <= 7
    assert await world.states() == {"submitted": 40}


async def test_a_full_session_goes_on_as_soon_as_there_is_room(world: World):
    small = with_policy(world, submit_concurrency=1)
    await world.accept(await world.tenant(), 2)
    world.upstream.gates["submit"] = held = Gate()
    working = asyncio.create_task(WorkLoops(small.deps).submit())
    await held.came.wait()
    assert len(world.upstream.sent) == 1
    held.open.set()
    await working
    await world.idle()
    assert await world.states() == {"submitted": 2}


async def test_a_session_also_looks_into_what_is_in_doubt(world: World, sessions: WorkLoops):
    await world.accept(await world.tenant())
    world.upstream.will("submit", Took(Unknown("reset")))
    await world.submit()
    await world.pass_time(3)
    await sessions.submit()
    await world.idle()
    assert await world.states() == {"submitted": 1}


async def test_a_session_that_took_long_makes_way_and_asks_for_another(world: World):
    short = with_policy(world, session=-1.0, submit_concurrency=5)
    await world.accept(await world.tenant(), 20)
    world.queue.wakes.clear()
    await WorkLoops(short.deps).submit()
    assert world.queue.wakes[0] == ("submit", 0.0)
    await world.idle()
    assert (await world.states())["accepted"] == 15


async def test_a_stopping_process_begins_nothing(world: World, sessions: WorkLoops):
    await world.accept(await world.tenant())
    world.upstream.calls.clear()
    world.deps.slots.closing = True
    await sessions.submit()
    await sessions.poll()
    await sessions.deliver()
    assert world.upstream.calls == []
    assert await world.states() == {"accepted": 1}


async def test_what_is_suspect_is_handled_alone_one_each_time_before_the_rest(
    world: World, sessions: WorkLoops
):
    tenant = await world.tenant()
    await world.accept(tenant, 3, name="suspect", priority=-1)
    await world.run("UPDATE job SET strikes = 2")
    await world.accept(tenant, 4)
    beside: list[int] = []

    async def look() -> None:
        beside.append(world.deps.slots.used("submit"))

    world.upstream.gates["submit"] = look
    world.queue.wakes.clear()
    for left in (2, 1, 0):
        await sessions.submit()
        await world.idle()
        assert (await world.states()).get("accepted", 0) == left
    assert world.queue.wakes.count(("submit", 0.0)) == 3
    names = [sent.name for _, sent in world.upstream.sent]
    assert [place for place, name in enumerate(names) if name == "suspect"] == [0, 5, 6]
    assert [beside[place] for place in (0, 5, 6)] == [1, 1, 1]


async def test_suspect_deliveries_are_sent_alone_one_each_time_before_the_rest(
    world: World, sessions: WorkLoops
):
    tenant = await world.tenant()
    await world.ended(tenant, 2, callback_url=CALLBACK)
    await world.run("UPDATE delivery SET strikes = 2")
    await world.ended(tenant, 3, callback_url=f"{CALLBACK}/other")
    for _ in range(2):
        await sessions.deliver()
        await world.idle()
    urls = [sent.url for sent in world.sender.sent]
    assert [place for place, url in enumerate(urls) if url == CALLBACK] == [0, 4]
    assert {row.state for row in await world.deliveries()} == {"delivered"}
    assert {row.strikes for row in await world.deliveries()} == {0}


async def test_a_suspect_that_hangs_holds_up_nobody(world: World):
    world = with_policy(world, quiet=0.01)
    await world.ended(await world.tenant(), 2, callback_url=CALLBACK)
    await world.run("UPDATE delivery SET strikes = 2")
    await world.ended(await world.tenant("other"), 3, callback_url=f"{CALLBACK}/other")
    held = Gate()

    async def hang() -> None:
        if world.sender.sent[-1].url == CALLBACK:
            await held()

    world.sender.gate = hang
    sessions = WorkLoops(world.deps)
    for _ in range(2):
        await sessions.deliver()
        while len(world.sender.to(f"{CALLBACK}/other")) < 3:
            await world.deps.slots.wait_for_slot(0.05)
        assert len(world.sender.to(CALLBACK)) == 1
    held.open.set()
    await world.idle()
    await sessions.deliver()
    await world.idle()
    assert {row.state for row in await world.deliveries()} == {"delivered"}


async def test_one_wake_up_delivers_all_that_is_owed(world: World, sessions: WorkLoops):
    tenant = await world.tenant()
    await world.ended(tenant, 30, callback_url=CALLBACK)
    await sessions.deliver()
    await world.idle()
    assert {row.state for row in await world.deliveries()} == {"delivered"}
    assert len({dict(sent.headers)["webhook-id"] for sent in world.sender.sent}) == 30


async def test_polling_ends_when_nothing_is_upstream(world: World, sessions: WorkLoops):
    await world.tenant()
    world.queue.wakes.clear()
    await sessions.poll()
    assert world.upstream.calls == ["application"]
    assert world.queue.wakes == []


async def test_polling_stays_while_something_is_due_within_moments(world: World):
    await world.at_upstream(await world.tenant())
    await world.run("UPDATE credential SET poll_at = now() + interval '0.3 seconds'")
    world.queue.wakes.clear()
    await WorkLoops(world.other_process(clock=PostgresClock(SystemClock())).deps).poll()
    await world.idle()
    assert world.upstream.count("status") == 1
    assert world.queue.wakes[0][0] == "poll"


async def test_polling_leaves_a_later_round_to_a_wake_up(world: World, sessions: WorkLoops):
    await world.at_upstream(await world.tenant())
    await world.run("UPDATE credential SET poll_at = now() + interval '20 seconds'")
    world.queue.wakes.clear()
    await sessions.poll()
    ((verb, after),) = world.queue.wakes
    assert verb == "poll"
    assert 19 < after <= 20
    await world.run("UPDATE credential SET poll_at = now() + interval '1 hour'")
    await sessions.poll()
    assert world.queue.wakes[-1] == ("poll", 60.0)


async def test_polling_makes_way_after_its_time(world: World):
    long = with_policy(world, session=1.0)
    await world.at_upstream(await world.tenant())
    world.upstream.gates["status"] = held = Gate()
    world.queue.wakes.clear()
    await world.run("UPDATE credential SET poll_at = now() + interval '0.9 seconds'")
    before = world.clock.monotonic()
    await WorkLoops(long.deps).poll()
    assert world.queue.wakes[0][0] == "poll"
    assert 1.0 < world.clock.monotonic() - before < 2.0
    held.open.set()
    await world.idle()


async def test_polling_claims_nothing_while_all_its_room_is_taken(world: World):
    await world.at_upstream(await world.tenant())
    short = with_policy(world, session=0.5)
    before = world.upstream.count("status")
    for _ in range(50):
        world.deps.slots.start("poll", asyncio.sleep(60))
    await WorkLoops(short.deps).poll()
    assert world.upstream.count("status") == before
    await world.deps.slots.drain(0)


async def cancelling(world: World, *slugs: str) -> None:
    """A bulk operation of each of these tenants."""
    for slug in slugs:
        tenant = await world.tenant(slug)
        await world.accept(tenant)
        await cancel_jobs(world.deps, tenant.id, JobFilter(None))
    world.queue.wakes.clear()


async def test_one_wake_up_does_all_bulk_operations_that_are_due(world: World, sessions: WorkLoops):
    await cancelling(world, "a", "b", "c")
    await sessions.bulk()
    assert await world.states() == {"cancelled": 3}
    assert "bulk" not in [verb for verb, _ in world.queue.wakes]


async def test_bulk_operations_make_way_after_their_time(world: World):
    await cancelling(world, "a", "b")
    await WorkLoops(with_policy(world, session=-1.0).deps).bulk()
    assert await world.states() == {"cancelled": 1, "accepted": 1}
    assert world.queue.wakes[-1] == ("bulk", 0.0)


async def test_no_bulk_operation_is_begun_while_the_process_ends(world: World):
    await cancelling(world, "a")
    other = world.other_process(slots=Slots(world.clock))
    other.deps.slots.closing = True
    await WorkLoops(other.deps).bulk()
    assert await world.states() == {"accepted": 1}
