"""Lookup: a job is found by its marker in lists of every kind."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.core.model import Tenant
from gateway.ports import UpstreamJob
from tests.flows.fakes import upstream_jobs
from tests.flows.scenes import in_doubt
from tests.flows.world import World


def bury(world: World, below: int, *, newest_first: bool, step: float = 1.0) -> None:
    """Other jobs before and after those in doubt: 250 older ones, and `below` newer ones."""
    now = datetime.now(UTC)
    older = upstream_jobs(250, start=now - timedelta(hours=10), step=step)
    newer = upstream_jobs(below, start=now + timedelta(seconds=1), step=0.001)
    world.upstream.jobs = [*older, *world.upstream.jobs, *newer]
    world.upstream.newest_first = newest_first


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("below", [0, 60, 350])
async def test_a_job_is_found_deep_in_a_list_sorted_either_way(
    world: World, newest_first: bool, below: int
):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    bury(world, below, newest_first=newest_first)
    await world.look_up()
    assert (await world.job(job_id)).state == "submitted"
    assert world.upstream.count("page") <= 12


async def test_the_newest_jobs_are_read_and_not_the_whole_history(world: World):
    await in_doubt(world, await world.tenant(), taken=False)
    now = datetime.now(UTC)
    world.upstream.jobs = upstream_jobs(3000, start=now - timedelta(hours=10))
    await world.look_up()
    assert world.upstream.count("page") == 1
    assert world.seen("lookup")[0][0] == "complete"


async def test_of_a_list_that_begins_with_the_oldest_only_the_end_is_read(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=False)
    start = datetime.now(UTC) - timedelta(hours=10)
    world.upstream.jobs = upstream_jobs(3000, start=start)
    world.upstream.newest_first = False
    await world.look_up()
    assert world.upstream.count("page") <= 15
    assert (await world.job(job_id)).lookups == 1


@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_list_without_times_is_read_to_its_end(world: World, newest_first: bool):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    bury(world, 350, newest_first=newest_first)
    world.upstream.move("SUCCEEDED", created_at=None)
    await world.look_up()
    assert (await world.job(job_id)).state == "submitted"


async def test_a_list_whose_first_page_has_one_time_is_not_taken_for_the_newest(world: World):
    """The upstream's times may be whole seconds, and a hundred jobs fit in one."""
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    bury(world, 60, newest_first=False, step=0.0)
    await world.look_up()
    assert (await world.job(job_id)).state == "submitted"


async def test_a_list_that_never_ends_proves_nothing(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=False)
    soon = datetime.now(UTC) + timedelta(hours=1)
    world.upstream.always["page"] = upstream_jobs(100, start=soon, step=-0.001)
    for _ in range(3):
        assert await world.look_up() == 1
        job = await world.job(job_id)
        assert (job.state, job.lookups) == ("submitting", 0)
        await world.pass_time(120)
    assert world.upstream.count("page") <= 36
    assert world.seen("lookup")[0][0] == "unknown"
    assert len(world.upstream.sent) == 1


async def test_a_list_that_shrinks_while_it_is_read_is_no_error(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=False)
    pages = upstream_jobs(300, start=datetime.now(UTC) - timedelta(seconds=30), step=0.001)
    first, second, third = pages[:100], pages[100:200], pages[200:]
    # It ended behind its third page, which is gone when it is read for the markers.
    world.upstream.will("page", first, second, third, [], [], second)
    world.upstream.newest_first = False
    await world.look_up()
    assert (await world.job(job_id)).state == "submitting"
    assert not world.failures


@pytest.mark.parametrize("newest_first", [True, False])
async def test_two_jobs_with_one_marker_leave_the_older_one(world: World, newest_first: bool):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    (theirs,) = world.upstream.jobs
    assert theirs.created_at
    later = theirs.created_at + timedelta(seconds=1)
    twin = UpstreamJob("0", "QUEUED", created_at=later, marker=theirs.marker)
    world.upstream.jobs.append(twin)
    world.upstream.newest_first = newest_first
    await world.look_up()
    assert (await world.job(job_id)).upstream_id == theirs.upstream_id


@pytest.mark.parametrize("newest_first", [True, False])
async def test_two_without_times_leave_the_one_with_the_smaller_id(
    world: World, newest_first: bool
):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    twin = UpstreamJob("0", "QUEUED", created_at=None, marker=str(job_id))
    world.upstream.jobs.append(twin)
    world.upstream.newest_first = newest_first
    await world.look_up()
    assert (await world.job(job_id)).upstream_id == "0"


# --- long lists ------------------------------------------------------------------------------------


async def buried(world: World, tenant: Tenant, *, taken: bool, newest_first: bool) -> UUID:
    """A job in doubt for ten minutes, older than 20,000 others, of which the newest are ours."""
    (job_id,) = await in_doubt(world, tenant, taken=taken)
    await world.pass_time(600)
    now = datetime.now(UTC)
    older = upstream_jobs(20_000, start=now - timedelta(hours=10), step=0.01)
    newer = upstream_jobs(20_000, start=now - timedelta(seconds=500), step=0.02)
    world.upstream.jobs = [*older, *world.upstream.jobs, *newer]
    await world.run("UPDATE credential SET paused_until = NULL, failures = 0, submit_room = NULL")
    await world.at_upstream(tenant, 20)
    world.upstream.newest_first = newest_first
    return job_id


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("taken", [True, False])
async def test_a_long_list_is_searched_by_bisection(world: World, taken: bool, newest_first: bool):
    tenant = await world.tenant()
    job_id = await buried(world, tenant, taken=taken, newest_first=newest_first)
    assert await world.look_up() == 1
    job = await world.job(job_id)
    assert (job.state, job.lookups) == (("submitted", 0) if taken else ("submitting", 1))
    assert world.upstream.count("page") <= 30, "a logarithm of 400 pages, twice"
    assert world.seen("lookup")[-1][1]["calls"] == world.upstream.count("page")


@pytest.mark.parametrize("ahead", [timedelta(minutes=-30), timedelta(minutes=30)])
async def test_the_upstreams_clock_may_be_wrong(world: World, ahead: timedelta):
    tenant = await world.tenant()
    job_id = await buried(world, tenant, taken=True, newest_first=True)
    world.upstream.jobs = [
        replace(job, created_at=job.created_at and job.created_at + ahead)
        for job in world.upstream.jobs
    ]
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state == "submitted"
    assert world.upstream.count("page") <= 30


async def test_a_list_without_an_order_is_read_in_rounds_and_others_go_on_meanwhile(world: World):
    tenant = await world.tenant()
    (job_id,) = await in_doubt(world, tenant, taken=True)
    world.upstream.jobs += upstream_jobs(30_000, start=datetime.now(UTC), step=0.001)
    world.upstream.move("QUEUED", created_at=None)

    async def take_time() -> None:
        world.clock.advance(0.1)

    world.upstream.gates["page"] = take_time
    before = (await world.health()).failures
    for round_ in range(1, 3):
        assert await world.look_up() == 1
        assert (await world.job(job_id)).state == "submitting"
        assert world.seen("lookup")[-1][0] == "unfinished"
        assert world.upstream.count("page") <= round_ * 113
        await world.run("UPDATE job SET next_at = now()")
        other = await world.accept_one(tenant)
        assert await world.submit() == 1
        assert (await world.job(other)).state == "submitted"
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state == "submitted"
    assert world.upstream.count("page") <= 303, "no page is read again but the last of a round"
    assert (await world.health()).failures <= before, "our own limit is no failure of the upstream"


async def test_an_upstream_with_pages_of_one_job_is_searched_too(world: World):
    tenant = await world.tenant()
    (job_id,) = await in_doubt(world, tenant, taken=True)
    world.upstream.jobs += upstream_jobs(70, start=datetime.now(UTC), step=0.001)
    world.upstream.largest = 1
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state == "submitted"
    assert world.upstream.count("page") <= 72 + 10, "ten of them tell no clock"


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("largest", [1, 4])
async def test_small_pages_are_searched_by_bisection_too(
    world: World, largest: int, newest_first: bool
):
    tenant = await world.tenant()
    job_id = await buried(world, tenant, taken=True, newest_first=newest_first)
    world.upstream.largest = largest
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state == "submitted"
    assert world.upstream.count("page") <= 80 + 10


async def test_metadata_that_others_made_is_no_marker(world: World):
    tenant = await world.tenant()
    (job_id,) = await in_doubt(world, tenant, taken=True)
    now = datetime.now(UTC)
    foreign = [UpstreamJob(str(n), "QUEUED", created_at=now, marker="mine") for n in range(3)]
    world.upstream.jobs += [*foreign, UpstreamJob("9", "QUEUED", created_at=now, marker="")]
    world.upstream.jobs += upstream_jobs(200, start=now, step=0.001)
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state == "submitted"


async def test_pages_of_one_job_that_has_no_time_are_read_to_the_end(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    newer = upstream_jobs(6, start=datetime.now(UTC), step=0.001)
    world.upstream.jobs += [replace(job, created_at=None) for job in newer]
    world.upstream.largest = 1
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state == "submitted"


async def test_a_job_without_a_time_among_the_others_hides_none(world: World):
    tenant = await world.tenant()
    job_id = await buried(world, tenant, taken=True, newest_first=True)
    timeless = replace(world.upstream.jobs[20_050], created_at=None)
    # Where the bisection looks first it finds no time, and begins there.
    world.upstream.jobs = [
        timeless if number % 100 == 20 else job for number, job in enumerate(world.upstream.jobs)
    ]
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state in ("submitted", "submitting")


async def test_a_foreign_marker_on_the_newest_page_tells_no_offset(world: World):
    tenant = await world.tenant()
    job_id = await buried(world, tenant, taken=True, newest_first=True)
    now = datetime.now(UTC)
    world.upstream.jobs.append(UpstreamJob("x", "QUEUED", created_at=now, marker="not one of ours"))
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state == "submitted"
    assert world.upstream.count("page") <= 30


@pytest.mark.parametrize("pages", [3, 7])
async def test_a_search_that_ran_out_of_time_while_it_looked_for_its_place_finds_the_same_one(
    world: World, pages: int
):
    """The upstream's clock is half an hour off, which must be allowed for once."""
    tenant = await world.tenant()
    job_id = await buried(world, tenant, taken=True, newest_first=True)
    ahead = timedelta(minutes=30)
    world.upstream.jobs = [
        replace(job, created_at=job.created_at and job.created_at + ahead)
        for job in world.upstream.jobs
    ]

    async def take_time() -> None:
        if world.upstream.count("page") == pages:
            world.clock.advance(20)

    world.upstream.gates["page"] = take_time
    await world.look_up()
    assert world.seen("lookup")[-1][0] == "unfinished"
    await world.run("UPDATE job SET next_at = now() WHERE state = 'submitting'")
    await world.look_up()
    assert (await world.job(job_id)).state == "submitted"


@pytest.mark.parametrize("late", [50, 200])
async def test_a_request_may_be_carried_out_up_to_a_minute_after_it_was_over(
    world: World, late: float
):
    tenant = await world.tenant()
    job_id = await buried(world, tenant, taken=True, newest_first=True)
    (theirs,) = world.upstream.marked(job_id)
    assert theirs.created_at
    made = replace(theirs, created_at=theirs.created_at + timedelta(seconds=late))
    others = [job for job in world.upstream.jobs if job is not theirs]
    end = theirs.created_at + timedelta(seconds=late)
    place = next(n for n, job in enumerate(others) if job.created_at and job.created_at > end)
    world.upstream.jobs = [*others[:place], made, *others[place:]]
    await world.look_up()
    assert ((await world.job(job_id)).state == "submitted") is (late < 60)
