"""One polling round by list, whatever the list is like."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.ports import UpstreamJob
from gateway.store.work import polls
from tests.flows.fakes import PROBLEM, UNREADABLE, upstream_jobs
from tests.flows.scenes import set_pace
from tests.flows.world import HOOK, World


async def test_one_list_call_ends_many_jobs(world: World):
    tenant = await world.tenant()
    await world.at_upstream(tenant, 20)
    world.upstream.move("SUCCEEDED")
    await world.poll()
    assert await world.states() == {"succeeded": 20}
    assert world.upstream.count("page") <= 2, "the page, and one to see that it was the last"
    assert world.upstream.count("status") == world.upstream.count("fetch") == 0
    assert world.seen("poll")[-1][1]["calls"] == world.upstream.count("page")
    assert world.seen("poll")[-1][1]["ended"] == 20
    asked = [what for call, what in world.upstream.asked if call == "page"]
    assert asked[0][1:] == (("SUCCEEDED", "FAILED"), 0)


async def test_a_short_page_is_the_last_unless_the_next_one_is_as_short(world: World):
    """The first ends of a burst are seen in one call, and those that came meanwhile in the next."""
    await world.at_upstream(await world.tenant(), 60)
    world.upstream.largest = 20
    world.upstream.move("SUCCEEDED")
    await world.poll()
    assert await world.states() == {"succeeded": 20, "submitted": 40}
    assert world.upstream.count("page") == 1
    await world.poll_again()
    assert await world.states() == {"succeeded": 60}, "by now it is known how long its pages are"


async def test_pages_are_read_while_they_bring_news(world: World):
    await world.at_upstream(await world.tenant(), 250)
    world.upstream.move("SUCCEEDED")
    start = datetime.now(UTC) - timedelta(days=1)
    world.upstream.jobs = [*upstream_jobs(500, start=start), *world.upstream.jobs]
    await world.poll()
    assert await world.states() == {"succeeded": 250}
    assert world.upstream.count("page") == 4, "two full of news, one half, one without"
    assert (await world.health()).list_order == "newest"


async def test_a_settled_job_is_not_matched_again(world: World):
    await world.at_upstream(await world.tenant(), 8)
    world.upstream.move("SUCCEEDED", *[job.upstream_id for job in world.upstream.jobs[:2]])
    await world.poll_again()
    await world.poll_again()
    assert await world.states() == {"succeeded": 2, "submitted": 6}
    world.upstream.move("SUCCEEDED")
    await world.poll_again()
    assert await world.states() == {"succeeded": 8}


async def test_a_list_that_begins_with_the_oldest_is_not_used(world: World):
    await world.at_upstream(await world.tenant(), 6)
    start = datetime.now(UTC) - timedelta(days=1)
    world.upstream.jobs = [*upstream_jobs(300, start=start), *world.upstream.jobs]
    world.upstream.move("SUCCEEDED")
    world.upstream.newest_first = False
    await world.poll_again()
    assert (await world.health()).list_order == "unusable"
    assert world.upstream.count("page") == 1
    await world.poll_again()
    assert world.upstream.count("page") == 1
    assert await world.states() == {"succeeded": 6}


async def test_an_unreadable_list_is_not_used_and_counts_as_no_outage(world: World):
    await world.at_upstream(await world.tenant(), 6)
    world.upstream.move("SUCCEEDED")
    world.upstream.always["page"] = UNREADABLE
    for _ in range(3):
        assert (await world.health()).list_order == "unknown"
        await world.poll_again()
    health = await world.health()
    assert (health.list_order, health.failures) == ("unusable", 0)
    await world.poll_again()
    assert await world.states() == {"succeeded": 6}
    assert world.upstream.count("page") == 3


async def test_a_list_that_was_unusable_is_tried_again_later(world: World):
    tenant = await world.tenant()
    await world.at_upstream(tenant, 6)
    await world.run("UPDATE credential SET list_order = 'unusable'")
    await world.poll_again()
    assert world.upstream.count("page") == 1, "a new process has not tried yet"
    await world.poll_again(200)
    assert world.upstream.count("page") == 1
    world.upstream.move("SUCCEEDED")
    world.upstream.jobs += upstream_jobs(2, start=datetime.now(UTC))
    await world.at_upstream(tenant, 6)
    await world.poll_again(101)
    assert (await world.health()).list_order == "newest"


async def test_a_list_without_times_is_used_all_the_same(world: World):
    await world.at_upstream(await world.tenant(), 6)
    world.upstream.move("SUCCEEDED", created_at=None)
    await world.poll_again()
    assert await world.states() == {"succeeded": 6}
    assert (await world.health()).list_order == "unknown"


async def test_reports_in_a_list_are_not_trusted_to_be_about_our_jobs(world: World):
    await world.at_upstream(await world.tenant(), 5)
    mine = world.upstream.jobs[0].upstream_id
    page = [
        UpstreamJob("foreign", "SUCCEEDED"),
        UpstreamJob(mine, "RUNNING?"),
        UpstreamJob(mine, "FAILED", problem=PROBLEM),
        UpstreamJob(mine, "FAILED", problem=PROBLEM),
    ]
    world.upstream.will("page", page)
    await world.poll_again()
    assert await world.states() == {"failed": 1, "submitted": 4}


async def test_a_job_that_the_list_does_not_show_is_checked_by_itself(world: World):
    tenant = await world.tenant()
    await set_pace(world, 1.0)
    await world.at_upstream(tenant, 5)
    hidden = world.upstream.jobs[0]
    world.upstream.move("SUCCEEDED")
    world.upstream.will("page", world.upstream.jobs[1:])
    await world.poll_again(4)
    assert await world.states() == {"succeeded": 5}
    assert [what[1] for call, what in world.upstream.asked if call == "status"] == [
        hidden.upstream_id
    ]


async def test_jobs_that_are_not_late_are_left_to_the_list(world: World):
    tenant = await world.tenant()
    await set_pace(world, 100.0)
    await world.at_upstream(tenant, 5)
    await world.poll_again(4)
    assert world.upstream.count("status") == 0


async def test_many_late_jobs_are_searched_for_in_the_list_at_once(world: World):
    tenant = await world.tenant()
    await set_pace(world, 6.0)
    await world.at_upstream(tenant, 10)
    await world.pass_time(11)
    ours = world.upstream.jobs
    newer = upstream_jobs(250, start=datetime.now(UTC) - timedelta(seconds=9), step=0.01)
    world.upstream.jobs = [*ours, *newer]
    world.upstream.move("SUCCEEDED")
    await world.poll_again()
    assert await world.states() == {"succeeded": 10}
    assert (world.upstream.count("page"), world.upstream.count("status")) == (4, 0), "one of starts"


async def test_four_hundred_late_jobs_cost_calls_in_proportion_and_no_time(world: World):
    """They ended out of the order of the list, behind five thousand jobs that are newer."""
    tenant = await world.tenant()
    await set_pace(world, 5.0)
    await world.at_upstream(tenant, 400)
    await world.pass_time(9)
    newer = upstream_jobs(5000, start=datetime.now(UTC) - timedelta(seconds=8), step=0.001)
    world.upstream.jobs += newer
    world.upstream.move("SUCCEEDED")
    await world.poll_again()
    assert await world.states() == {"succeeded": 400}
    assert world.upstream.count("status") == 0
    assert world.upstream.count("page") <= 20, "the bisection of 54 pages, and the five of theirs"


async def test_a_search_ends_with_the_list(world: World):
    tenant = await world.tenant()
    await set_pace(world, 200.0)
    await world.at_upstream(tenant, 10)
    await world.pass_time(450)
    start = datetime.now(UTC) - timedelta(seconds=400)
    world.upstream.jobs += upstream_jobs(290, start=start, step=0.001)
    world.upstream.move("SUCCEEDED", *[job.upstream_id for job in world.upstream.jobs[1:]])
    world.upstream.move("SUCCEEDED", *[job.upstream_id for job in world.upstream.jobs[10:]])
    foreign = upstream_jobs(1, start=datetime.now(UTC) - timedelta(seconds=460))
    world.upstream.jobs = [world.upstream.jobs[0], *foreign, *world.upstream.jobs[1:]]
    await world.poll_again()
    assert await world.states() == {"succeeded": 9, "submitted": 1}
    assert world.upstream.count("page") == 4, "three full ones and an empty one"


async def test_jobs_that_a_search_does_not_find_are_checked_as_far_as_the_budget_goes(world: World):
    tenant = await world.tenant()
    await set_pace(world, 5.0)
    await world.at_upstream(tenant, 400)
    await world.pass_time(9)
    hidden = world.upstream.jobs[:20]
    world.upstream.move("SUCCEEDED")
    shown = [job for job in world.upstream.jobs if job not in world.upstream.jobs[:20]]
    pages = [shown[::-1][n : n + 100] for n in range(0, 400, 100)]
    world.upstream.will("page", *pages)
    await world.poll_again()
    assert await world.states() == {"succeeded": 400}
    asked = {what[1] for call, what in world.upstream.asked if call == "status"}
    assert asked == {job.upstream_id for job in hidden}


async def test_pages_without_news_are_passed_where_an_expected_job_may_be_behind_them(
    world: World,
):
    """Jobs do not end in the order of the list.

    They run for so long that the seconds of the test itself do not matter.
    """
    tenant = await world.tenant()
    await set_pace(world, 500.0)
    (first,) = await world.at_upstream(tenant)
    await world.pass_time(200)
    await world.at_upstream(tenant, 250)
    ids = [job.upstream_id for job in world.upstream.jobs[1:]]
    world.upstream.move("SUCCEEDED", *ids[50:])
    await world.at_upstream(tenant, 10)
    await world.poll_again(250)
    assert await world.states() == {"succeeded": 200, "submitted": 61}
    world.upstream.move("SUCCEEDED", world.upstream.jobs[0].upstream_id)
    await world.poll_again()
    assert (await world.job(first)).state == "succeeded"
    assert world.upstream.count("status") == 0


async def test_a_search_finds_a_job_whose_submit_was_recorded_long_after_its_end(world: World):
    """A submit whose process died is looked up late, when this process took it for somebody else's."""
    await world.at_upstream(await world.tenant(), 14)
    ended = [job.upstream_id for job in world.upstream.jobs[:8]]
    world.upstream.move("SUCCEEDED", *ended)
    await world.run(
        "UPDATE job SET state = 'submitting', next_at = 'infinity' WHERE upstream_id = ANY($1)",
        ended,
    )
    await world.poll_again(601)
    await world.run(
        "UPDATE job SET state = 'submitted', submitted_at = now(), next_at = now()"
        " WHERE state = 'submitting'"
    )
    for _ in range(2):
        await world.poll_again(6)
    assert await world.states() == {"succeeded": 8, "submitted": 6}
    assert world.upstream.count("fetch") == 0, "by list"


async def test_a_search_ends_at_the_age_of_the_oldest_job_and_is_not_repeated_at_once(
    world: World,
):
    tenant = await world.tenant()
    await set_pace(world, 20.0)
    await world.at_upstream(tenant, 10)
    await world.pass_time(40)
    history = upstream_jobs(900, start=datetime.now(UTC) - timedelta(seconds=130), step=0.1)
    world.upstream.jobs = [*history, *world.upstream.jobs]
    await world.poll_again()

    async def pages_of_a_round(seconds: float = 0.0) -> list[int]:
        world.upstream.asked.clear()
        await world.poll_again(seconds)
        asked = [what for call, what in world.upstream.asked if call == "page"]
        return [number for _, statuses, number in asked if "FAILED" in statuses]

    # The newest hundred are 40 s old and more, and no job that is awaited is older.
    assert await pages_of_a_round() == [0]
    await set_pace(world, 12.0)
    world.upstream.shift(-15)
    assert await pages_of_a_round(6) == [0, 1]
    assert await pages_of_a_round() == [0]


async def test_a_list_that_never_ends_is_not_used(world: World):
    tenant = await world.tenant()
    await set_pace(world, 6.0)
    await world.at_upstream(tenant, 10)
    await world.pass_time(11)
    recent = datetime.now(UTC) + timedelta(seconds=60)
    world.upstream.always["page"] = upstream_jobs(100, start=recent, step=-0.001)
    await world.poll_again()
    assert world.upstream.count("page") <= 30
    health = await world.health()
    assert (health.list_order, health.poll_lease_until) == ("unusable", None)


async def test_very_late_jobs_are_checked_whatever_the_budget_says(world: World):
    tenant = await world.tenant()
    await set_pace(world, 1.0)
    await world.at_upstream(tenant, 30)
    await world.poll_again(60)
    assert 20 <= world.upstream.count("status") <= 22


async def test_starts_of_slow_jobs_are_listed_now_and_then(world: World):
    tenant = await world.tenant(hook=HOOK, events=["job.started"])
    await set_pace(world, 60.0)
    await world.at_upstream(tenant, 6)
    world.upstream.move("STARTED")
    await world.poll_again(2)
    assert await world.states() == {"running": 6}
    assert await world.event_types() == ["job.started"] * 6
    assert world.upstream.count("page") == 2
    await world.at_upstream(tenant, 1)
    await world.poll_again(1)
    assert world.upstream.count("page") == 3, "the starts were listed a moment ago"
    await world.poll_again(6)
    assert world.upstream.count("page") == 5


async def test_jobs_whose_starts_were_listed_are_awaited_as_before(world: World):
    tenant = await world.tenant()
    await set_pace(world, 60.0)
    await world.at_upstream(tenant, 6)
    world.upstream.move("STARTED")
    await world.poll_again(54)
    assert await world.states() == {"running": 6}
    world.upstream.move("SUCCEEDED")
    await world.poll_again(6)
    assert await world.states() == {"succeeded": 6}
    assert world.upstream.count("status") == 0


@pytest.mark.parametrize("jobs", [1, 6], ids=["by itself", "by list"])
async def test_the_start_of_a_slow_job_is_known_soon_and_its_end_not_asked_for_before_it_can_be(
    world: World, jobs: int
):
    tenant = await world.tenant()
    await set_pace(world, 30.0)
    await world.at_upstream(tenant, jobs)
    await world.poll_again()
    assert (await world.poller.next_due() or 99) <= 5
    world.upstream.move("STARTED")
    await world.poll_again(5)
    assert await world.states() == {"running": jobs}
    assert 10 < (await world.poller.next_due() or 0) <= 22


@pytest.mark.parametrize("pace", [26.0, None])
async def test_a_job_is_asked_about_in_every_round_that_is_made_for_it(
    world: World, pace: float | None
):
    tenant = await world.tenant()
    if pace is not None:
        await set_pace(world, pace)
    await world.at_upstream(tenant)
    await world.poll_again(24)
    for calls in range(2, 6):
        wait = await world.poller.next_due()
        assert wait is not None
        await world.poll_again(wait)
        assert world.upstream.count("status") == calls


async def test_an_empty_list_of_starts_is_no_news(world: World):
    tenant = await world.tenant()
    await set_pace(world, 60.0)
    await world.at_upstream(tenant, 6)
    await world.poll_again(2)
    assert await world.states() == {"submitted": 6}


@pytest.mark.parametrize(("created", "completed", "expected"), [(-60, -57, 3), (-60, None, 60)])
async def test_how_long_a_job_took_is_not_how_late_its_end_was_noticed(
    world: World, created: float, completed: float | None, expected: float
):
    await world.at_upstream(await world.tenant())
    await world.pass_time(60)
    at = {"created_at": created, "completed_at": completed}
    times = {name: s and datetime.now(UTC) + timedelta(seconds=s) for name, s in at.items()}
    world.upstream.move("SUCCEEDED", **times)
    await world.poll()
    pace = polls.pace_of((await world.health()).pace)
    assert pace.typical["stems"] == pytest.approx(expected, abs=2)


async def test_durations_are_learned(world: World):
    await world.ended(await world.tenant(), 3)
    pace = polls.pace_of((await world.health()).pace)
    assert 0 < pace.typical["stems"] < 5
    assert pace.shortest.keys() == {"stems"}
