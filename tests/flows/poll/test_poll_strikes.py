"""Answers that break their reader: their job is given up, and its neighbours go on."""

from typing import Any
from uuid import UUID

from gateway.core.model import Tenant
from gateway.flows.process.slots import Slots
from tests.flows.fakes import Gate
from tests.flows.world import World

_LIST = 6  # jobs, of which a list is worth asking


class Trap:
    """An object that breaks its reader."""

    def __getattr__(self, name: str) -> Any:
        raise RecursionError("too deep")


async def poisoned(world: World, count: int) -> UUID:
    """Ended jobs at the upstream; the report of the one that is named cannot be read."""
    ids = await world.at_upstream(await world.tenant(), count)
    world.upstream.move("SUCCEEDED")
    trap: Any = Trap()
    upstream_id = world.upstream.jobs[0].upstream_id
    world.upstream.move("FAILED", upstream_id, problem=trap)
    row = await world.row("SELECT id FROM job WHERE upstream_id = $1", upstream_id)
    assert row.id in ids
    return row.id


async def test_a_report_that_breaks_its_reader_ends_its_own_job_only(world: World):
    ill = await poisoned(world, _LIST)
    assert await world.poll() == 1
    assert await world.states() == {"succeeded": _LIST - 1, "submitted": 1}
    for strikes in range(1, world.deps.policy.strikes):
        assert (await world.job(ill)).strikes == strikes
        await world.poll_again(2)
    job = await world.job(ill)
    assert (job.state, "UPSTREAM_UNREADABLE" in job.error) == ("failed", True)
    assert {str(one["exception"]) for one in world.failures} == {"too deep"}
    world.failures.clear()


async def test_so_does_one_that_is_asked_about_by_itself(world: World):
    ill = await poisoned(world, 1)
    for strikes in range(world.deps.policy.strikes):
        assert (await world.job(ill)).strikes == strikes
        await world.poll_again(61)
    assert (await world.job(ill)).state == "failed"
    assert len(world.failures) == world.deps.policy.strikes
    world.failures.clear()


async def die(world: World, call: str, upstream_id: str | None = None) -> None:
    """Poll in a process that ends without a word while it hangs in a call, about that job."""
    held = Gate()

    async def hang() -> None:
        if upstream_id is None or world.upstream.asked[-1][1][1] == upstream_id:
            await held()

    world.upstream.gates[call] = hang
    other = world.other_process(slots=Slots(world.clock))
    assert await other.poller.claim(9) == 1
    await held.came.wait()
    await other.deps.slots.drain(0)
    del world.upstream.gates[call]
    await world.pass_time(world.deps.policy.lease + 1)


async def brought_down(world: World) -> Tenant:
    """Jobs that two rounds did not survive."""
    tenant = await world.tenant()
    await world.at_upstream(tenant, _LIST)
    await die(world, "page")
    await die(world, "page")
    world.upstream.move("SUCCEEDED")
    world.upstream.calls.clear()
    return tenant


async def test_after_two_rounds_that_never_ended_each_job_is_asked_about_by_itself(world: World):
    tenant = await brought_down(world)
    await world.poll()
    assert sorted(world.upstream.calls) == ["fetch"] * _LIST + ["status"] * _LIST
    assert await world.states() == {"succeeded": _LIST}
    await world.at_upstream(tenant, _LIST)
    await world.poll()
    assert world.upstream.calls[-1] == "page"


async def test_a_job_that_none_survives_to_read_is_given_up_and_the_others_end(world: World):
    await brought_down(world)
    ill = world.upstream.jobs[0].upstream_id
    for strikes in range(1, world.deps.policy.strikes + 1):
        await die(world, "fetch", ill)
        assert await world.value("SELECT strikes FROM job WHERE upstream_id = $1", ill) == strikes
    await world.poll()
    assert await world.states() == {"failed": 1, "succeeded": _LIST - 1}
    job = await world.row("SELECT * FROM job WHERE state = 'failed'")
    assert ("UPSTREAM_UNREADABLE" in job.error, job.upstream_id) == (True, ill)


async def test_a_careful_round_ends_in_time_and_the_next_is_as_ever(world: World):
    await brought_down(world)
    await world.run("UPDATE job SET strikes = 1")

    async def take_long() -> None:
        world.clock.advance(world.deps.policy.lease / 5)

    world.upstream.gates["status"] = take_long
    await world.poll_again()
    assert (await world.states())["succeeded"] == 2
    assert await world.value("SELECT poll_strikes FROM credential") == 1
    assert "page" not in world.upstream.calls
    await world.poll_again()
    assert await world.states() == {"succeeded": _LIST}
    assert await world.value("SELECT poll_strikes FROM credential") == 0


async def test_a_probe_is_careful_too(world: World):
    await brought_down(world)
    await world.run("UPDATE credential SET failures = 9")
    await world.poll_again()
    assert world.upstream.calls == ["status", "fetch"]
