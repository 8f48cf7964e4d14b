"""Status checks: one job is asked about by itself, and each answer has its consequence."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from gateway.ports import Absent
from tests.flows.fakes import PROBLEM, UNREADABLE
from tests.flows.world import CALLBACK, HOOK, World


async def test_a_succeeded_job_is_settled_with_its_report(world: World):
    (job_id,) = await world.at_upstream(await world.tenant(), callback_url=CALLBACK)
    world.queue.wakes.clear()
    start = datetime.now(UTC) - timedelta(seconds=5)
    done = start + timedelta(seconds=3)
    await world.run("UPDATE job SET created_at = created_at - interval '1 minute'")
    world.upstream.move(
        "SUCCEEDED", result='{"vocals": "https://get"}', started_at=start, completed_at=done
    )
    assert await world.poll() == 1
    job = await world.job(job_id)
    assert (job.state, job.result, job.error) == (
        "succeeded",
        '{"vocals": "https://get"}',
        None,
    )
    assert (job.started_at, job.completed_at) == (start, done)
    assert await world.event_types(job_id) == ["job.succeeded"]
    assert world.queue.wakes == [("deliver", 0.0), ("submit", 0.0)]
    assert world.seen("job")[0][0] == "succeeded"
    assert world.upstream.count("status") == world.upstream.count("fetch") == 1
    await world.poll_again()
    assert (await world.health()).poll_at is None
    assert await world.poll() == 0


async def test_a_failed_job_keeps_the_upstreams_reason(world: World):
    (job_id,) = await world.at_upstream(await world.tenant())
    world.upstream.move("FAILED", problem=PROBLEM)
    await world.poll()
    job = await world.job(job_id)
    assert (job.state, json.loads(job.error)["code"]) == ("failed", "BAD_INPUT")
    assert await world.event_types(job_id) == ["job.failed"]


async def test_a_failed_job_without_reason_has_one_that_says_so(world: World):
    (job_id,) = await world.at_upstream(await world.tenant())
    world.upstream.move("FAILED")
    await world.poll()
    assert json.loads((await world.job(job_id)).error)["code"] == "UNKNOWN"


async def test_a_started_job_is_news_once_for_those_who_ask(world: World):
    tenant = await world.tenant(hook=HOOK, events=["job.started"])
    await world.endpoint(tenant, "https://other.example.com", events=["job.failed"])
    (job_id,) = await world.at_upstream(tenant, callback_url=CALLBACK)
    world.upstream.move("STARTED")
    world.queue.wakes.clear()
    await world.poll()
    job = await world.job(job_id)
    assert (job.state, job.started_at is not None) == ("running", True)
    assert await world.event_types() == ["job.started"]
    assert len(await world.deliveries()) == 1
    assert world.queue.wakes == [("deliver", 0.0)]
    await world.poll_again(30)
    assert await world.event_types() == ["job.started"]


async def test_a_start_nobody_asks_for_wakes_nobody(world: World):
    (job_id,) = await world.at_upstream(await world.tenant())
    world.upstream.move("STARTED")
    world.queue.wakes.clear()
    await world.poll()
    assert (await world.job(job_id)).state == "running"
    assert world.queue.wakes == []


@pytest.mark.parametrize("status", ["QUEUED", "PENDING", "", "succeeded"])
async def test_a_status_that_goes_back_or_is_unknown_changes_nothing(world: World, status: str):
    (job_id,) = await world.at_upstream(await world.tenant())
    world.upstream.move("STARTED")
    await world.poll()
    before = await world.job(job_id)
    world.upstream.move(status)
    await world.poll_again(60)
    after = await world.job(job_id)
    assert (after.state, after.version) == ("running", before.version)
    assert (await world.health()).failures == 0
    world.upstream.move("SUCCEEDED")
    await world.poll_again(60)
    assert (await world.job(job_id)).state == "succeeded"


async def test_the_report_counts_and_not_the_status_before_it(world: World):
    (job_id,) = await world.at_upstream(await world.tenant())
    world.upstream.will("status", "SUCCEEDED")
    await world.poll()
    assert (await world.job(job_id)).state == "submitted"


async def test_an_ended_job_does_not_change_any_more(world: World):
    (job_id,) = await world.ended(await world.tenant())
    before = await world.job(job_id)
    world.upstream.move("FAILED", problem=PROBLEM)
    await world.run("UPDATE credential SET poll_at = now()")
    await world.poll()
    assert dict(await world.job(job_id)) | {"due_in": 0} == dict(before) | {"due_in": 0}
    assert await world.event_types() == ["job.succeeded"]


@pytest.mark.parametrize("call", ["status", "fetch"])
@pytest.mark.parametrize(
    ("answer", "code"), [(Absent(), "UPSTREAM_LOST"), (UNREADABLE, "UPSTREAM_UNREADABLE")]
)
async def test_a_job_that_is_absent_or_unreadable_four_times_ends(
    world: World, call: str, answer: object, code: str
):
    (job_id,) = await world.at_upstream(await world.tenant())
    world.upstream.move("SUCCEEDED")
    world.upstream.always[call] = answer
    for seen, delay in enumerate((5, 20, 60), 1):
        await world.poll_again(61)
        job = await world.job(job_id)
        assert (job.state, job.absences) == ("submitted", seen)
        assert delay - 2 < job.due_in <= delay
    assert (await world.health()).failures == 0, "an answer about one job is not an outage"
    await world.poll_again(61)
    job = await world.job(job_id)
    assert (job.state, json.loads(job.error)["code"]) == ("failed", code)


async def test_a_job_that_is_there_again_is_not_lost(world: World):
    (job_id,) = await world.at_upstream(await world.tenant())
    world.upstream.will("status", Absent(), Absent())
    await world.poll_again(61)
    await world.poll_again(61)
    await world.poll_again(61)
    assert (await world.job(job_id)).absences == 0
    world.upstream.will("status", Absent())
    await world.poll_again(61)
    assert ((await world.job(job_id)).state, (await world.job(job_id)).absences) == ("submitted", 1)


async def test_each_job_is_asked_about_more_rarely_as_it_ages(world: World):
    (job_id,) = await world.at_upstream(await world.tenant())
    await world.poll_again(100)
    assert 11 < (await world.job(job_id)).due_in <= 13
    asked = world.upstream.count("status")
    await world.poll_again(10)
    assert world.upstream.count("status") == asked
    assert 8 < (await world.health()).poll_in <= 17
