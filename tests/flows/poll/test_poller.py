"""The poller: claims, health of credentials, several processes, and what a process remembers."""

import asyncio
from dataclasses import replace

import pytest

from gateway.core.crypto.cipher import Cipher
from gateway.core.schedule.polling import Pace
from gateway.flows.poll import reports
from gateway.flows.poll.memory import PollMemory
from gateway.flows.process.slots import Slots
from gateway.ports import Busy, Denied, Unknown, UpstreamProblem
from gateway.store.work import polls
from tests.flows.fakes import Gate
from tests.flows.world import HOOK, World

DENIED = Denied(403, UpstreamProblem("FORBIDDEN", "Forbidden", "No."))


# --- outages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 6])
async def test_a_busy_upstream_is_left_alone_as_long_as_it_asks(world: World, jobs: int):
    await world.at_upstream(await world.tenant(), jobs)
    world.upstream.move("SUCCEEDED")
    answer = Busy("too many requests", retry_after=20.0, limited=True)
    world.upstream.will("status", answer)
    world.upstream.will("page", answer)
    await world.poll_again()
    health = await world.health()
    assert health.failures == 1
    assert 19 < health.rest <= 20
    assert 19 < health.poll_in <= 20
    assert await world.states() == {"submitted": jobs}
    assert world.seen("poll")[-1][0] == "busy"
    assert await world.poll() == 0
    world.upstream.script.clear()
    await world.pass_time(21)
    await world.poll()
    assert await world.states() == {"succeeded": jobs}
    assert (await world.health()).failures == 0


async def test_after_trouble_with_the_list_no_job_is_asked_for_by_itself(world: World):
    await world.at_upstream(await world.tenant(), 6)
    world.upstream.will("page", Unknown("timeout"))
    await world.poll_again(60)
    assert world.upstream.count("status") == 0
    assert (await world.health()).failures == 1


async def test_a_credential_that_is_not_honoured_is_parked_and_its_jobs_stay(world: World):
    tenant = await world.tenant(hook=HOOK)
    await world.at_upstream(tenant, 2)
    world.upstream.always["status"] = DENIED
    await world.poll_again()
    health = await world.health()
    assert health.rejected_reason == "HTTP 403: No."
    assert 290 < health.poll_in <= 300
    assert await world.states() == {"submitted": 2}
    assert await world.event_types() == ["credential.rejected"]
    await world.pass_time(301)
    await world.poll()
    assert await world.event_types() == ["credential.rejected"]
    world.upstream.always.clear()
    world.upstream.move("SUCCEEDED")
    await world.pass_time(301)
    await world.poll()
    assert await world.states() == {"succeeded": 1, "submitted": 1}, "it was tried with one"
    assert (await world.health()).rejected_at is None
    await world.poll_again()
    assert await world.states() == {"succeeded": 2}


async def test_a_credential_that_cannot_be_opened_waits_without_a_call(world: World):
    await world.at_upstream(await world.tenant())
    elsewhere = world.other_process(cipher=Cipher([b"x" * 32]))
    await elsewhere.poll()
    assert world.upstream.count("status") == 0
    health = await world.health()
    assert (health.rejected_at, health.failures, await world.events()) == (None, 0, [])
    assert 4 < health.poll_in <= 5
    assert await world.states() == {"submitted": 1}
    world.upstream.move("SUCCEEDED")
    await world.pass_time(6)
    await world.poll()
    assert await world.states() == {"succeeded": 1}


async def test_a_rotated_credential_still_polls_what_it_submitted(world: World):
    tenant = await world.tenant()
    await world.at_upstream(tenant)
    await world.credential("acme", "new-key")
    await world.at_upstream(tenant)
    world.upstream.move("SUCCEEDED")
    await world.poll_again()
    keys = [what[0].key.value for call, what in world.upstream.asked if call == "status"]
    assert sorted(keys) == ["key-of-acme", "new-key"]
    assert await world.states() == {"succeeded": 2}


# --- several processes -----------------------------------------------------------------------------


async def test_two_that_see_the_same_end_make_one_event(world: World):
    await world.at_upstream(await world.tenant(hook=HOOK), 30)
    world.upstream.move("SUCCEEDED")
    credential = await world.health()
    async with world.deps.db.single() as tx:
        known = [job.upstream_id for job in world.upstream.jobs]
        awaited = await polls.match(tx, credential.id, known)
    reports_by_id = {job.upstream_id: job for job in world.upstream.jobs}
    read = [reports.read(world.deps, job, reports_by_id[job.upstream_id]) for job in awaited]
    news = [one for one in read if one is not None]
    ended = await asyncio.gather(
        *(reports.record(world.deps, one) for one in (news, news[::-1], news))
    )
    assert sum(len(recorded.took) for recorded in ended) == 30
    assert await world.event_types() == ["job.succeeded"] * 30
    assert len(await world.deliveries()) == 30
    assert await world.value("SELECT sum(jobs)::int FROM usage_hourly") == 30


async def test_one_credential_is_polled_by_one_process_at_a_time(world: World):
    await world.at_upstream(await world.tenant())
    world.upstream.gates["status"] = held = Gate()
    assert await world.poller.claim(10) == 1
    await held.came.wait()
    assert await world.other_process().poller.claim(10) == 0
    await world.pass_time(31)
    assert await world.other_process().poller.claim(10) == 1
    held.open.set()
    await world.idle()


async def test_a_job_that_is_submitted_during_a_round_is_polled_soon(world: World):
    tenant = await world.tenant()
    await world.at_upstream(tenant)
    world.upstream.move("SUCCEEDED")
    world.upstream.gates["fetch"] = held = Gate()
    await world.poller.claim(10)
    await held.came.wait()
    await world.accept(tenant)
    beside = world.other_process(slots=Slots(world.clock))
    await beside.submit()
    held.open.set()
    await world.idle()
    assert (await world.health()).poll_in <= 0.25


async def test_a_round_without_jobs_asks_nothing(world: World):
    await world.tenant()
    await world.run("UPDATE credential SET poll_at = now()")
    calls = len(world.upstream.calls)
    assert await world.poll() == 1
    assert len(world.upstream.calls) == calls
    assert (await world.health()).poll_at is None


# --- memory ----------------------------------------------------------------------------------------


def test_a_process_remembers_only_so_many_ends():
    memory = PollMemory()
    memory.add([str(n) for n in range(20_010)])
    assert len(memory.ended) == 20_000
    assert "9" not in memory.ended
    assert "20009" in memory.ended


async def test_a_process_remembers_only_so_many_credentials(world: World):
    small = world.other_process(policy=replace(world.deps.policy, remembered_credentials=1))
    for slug in ("a", "b", "c"):
        await world.at_upstream(await world.tenant(slug), 6)
        world.upstream.move("SUCCEEDED")
        assert await small.poll()
    assert await world.states() == {"succeeded": 18}


def test_a_pace_is_read_back_as_it_was_written():
    assert polls.pace_of("{}") == Pace()
