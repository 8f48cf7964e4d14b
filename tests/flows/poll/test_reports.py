"""Reports: one that cannot be written fails alone, and after several strikes its job is given up."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from gateway.errors import Unavailable
from gateway.ports import UpstreamJob
from tests.flows.world import HOOK, World

UNWRITABLE = '{"cut": "off'


def heard(world: World) -> int:
    """How many defects of polling were reported, taken back."""
    assert {one["message"] for one in world.failures} <= {"poll failed"}
    count = len(world.failures)
    world.failures.clear()
    return count


async def with_one_bad(world: World, count: int) -> tuple[UUID, list[UUID]]:
    """Jobs that succeeded, one of them with a result that Postgres does not take."""
    ids = await world.at_upstream(await world.tenant(hook=HOOK), count)
    world.upstream.move("SUCCEEDED", result="{}")
    bad = world.upstream.jobs[count // 2]
    world.upstream.move("SUCCEEDED", bad.upstream_id, result=UNWRITABLE)
    bad_id = UUID(str(bad.marker))
    return bad_id, [id_ for id_ in ids if id_ != bad_id]


@pytest.mark.parametrize("count", [3, 8])
async def test_one_report_that_cannot_be_written_fails_alone(world: World, count: int):
    """Asked about one by one, and by list."""
    bad, good = await with_one_bad(world, count)
    await world.poll_again()
    assert heard(world) == 1
    assert {(await world.job(id_)).state for id_ in good} == {"succeeded"}
    job = await world.job(bad)
    assert (job.state, job.strikes) == ("submitted", 1)
    assert await world.event_types() == ["job.succeeded"] * (count - 1)
    assert (await world.health()).failures == 0


async def test_a_job_whose_report_cannot_be_written_five_times_is_given_up(world: World):
    bad, _ = await with_one_bad(world, 1)
    for strikes in (1, 2, 3, 4):
        await world.poll_again(61)
        assert ((await world.job(bad)).state, (await world.job(bad)).strikes) == (
            "submitted",
            strikes,
        )
    await world.poll_again(61)
    job = await world.job(bad)
    assert (job.state, json.loads(job.error)["code"]) == ("failed", "UPSTREAM_UNREADABLE")
    assert heard(world) == 5
    assert await world.event_types() == ["job.failed"]


async def test_a_report_that_is_well_again_is_written(world: World):
    bad, _ = await with_one_bad(world, 1)
    for _ in range(4):
        await world.poll_again(61)
    heard(world)
    world.upstream.move("SUCCEEDED", result="{}")
    await world.poll_again(61)
    assert (await world.job(bad)).state == "succeeded"


@asynccontextmanager
async def stuck(world: World, name: str) -> AsyncIterator[None]:
    """Jobs of this name cannot end, whatever is said of them."""
    check = f"CHECK (name <> '{name}' OR state IN ('accepted', 'submitting', 'submitted'))"
    await world.rows(f"ALTER TABLE job ADD CONSTRAINT stuck {check} NOT VALID")
    try:
        yield
    finally:
        await world.rows("ALTER TABLE job DROP CONSTRAINT stuck")


async def test_a_job_that_cannot_even_be_given_up_harms_nobody(world: World):
    tenant = await world.tenant()
    (bad,) = await world.at_upstream(tenant, name="stuck")
    (good,) = await world.at_upstream(tenant)
    world.upstream.move("SUCCEEDED")
    await world.run("UPDATE job SET strikes = 4 WHERE id = $1", bad)
    async with stuck(world, "stuck"):
        await world.poll_again()
        job = await world.job(bad)
        assert (job.state, job.strikes) == ("submitted", 6)
        assert (await world.job(good)).state == "succeeded"
        assert heard(world) == 2
        await world.poll_again(61)
        assert heard(world) == 2
    await world.poll_again(61)
    assert (await world.job(bad)).state == "succeeded"


@pytest.mark.parametrize("count", [1, 6])
async def test_a_database_that_is_away_is_no_ones_strike(world: World, count: int):
    await world.at_upstream(await world.tenant(), count)
    world.upstream.move("SUCCEEDED")

    def be_away(point: str) -> None:
        if point == "poll.settled":
            raise Unavailable("away", retry_after=1)

    elsewhere = world.other_process(crash_point=be_away)
    assert await elsewhere.poll() == 1
    assert await world.states() == {"submitted": count}
    assert await world.value("SELECT sum(strikes)::int FROM job") == 0
    assert (await world.health()).poll_lease_until is None, "the credential is free again"
    await world.poll_again(5)
    assert await world.states() == {"succeeded": count}


async def test_reports_at_the_same_time_of_a_bad_job_count_each_once(world: World):
    bad, _ = await with_one_bad(world, 1)
    second = world.other_process()
    await world.run("UPDATE credential SET poll_at = now()")
    await asyncio.gather(world.poll(), second.poll())
    assert (await world.job(bad)).strikes == heard(world) == 1


async def test_a_bad_report_does_not_stop_what_the_list_shows_of_others(world: World):
    bad, good = await with_one_bad(world, 8)
    strangers = [UpstreamJob(f"other-{n}", "SUCCEEDED", result=UNWRITABLE) for n in range(5)]
    world.upstream.jobs = [*strangers, *world.upstream.jobs]
    await world.poll_again()
    assert heard(world) == 1
    assert {(await world.job(id_)).state for id_ in good} == {"succeeded"}
    assert (await world.job(bad)).state == "submitted"
