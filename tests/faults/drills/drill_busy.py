"""Faults while one tenant is busy: thousands of its jobs at the upstream, or owed to its receiver."""

import asyncio
import time
from datetime import datetime
from functools import partial
from typing import NamedTuple

import pytest

from gateway.embedded import free_port
from tests.faults.drills.drill import add_fault, drill, owe, query, submit_many, until_ended
from tests.faults.drills.upstream_jobs import counted, crowd, submits_of
from tests.faults.harness.drain import drain
from tests.faults.harness.history import Entry, History
from tests.faults.harness.proxy import proxied
from tests.faults.harness.rig import HOST, Rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SWEEPS = 5
_CROWD = 10_000


async def _counted(world: World, sql: str, *arguments: object) -> int:
    return (await query(world, sql, *arguments))[0][0]


# --- a healthy database --------------------------------------------------------------------------


async def test_38_a_steady_load_is_no_restore(rig: Rig) -> None:
    """Claims and sweeps of two workers cross each other all the time, and nothing is in doubt.

    They sweep each second, and a claim is judged 30 ms after its answer: else too few would cross in
    15 s for the drill to notice each time that a claim is judged by later knowledge.
    """
    async with drill(rig, "38 steady load", links=False, tenants=1) as history:
        world, jobs = history.world, 3_000
        ports, crossing = [free_port(), free_port()], {"sweep": 1, "slow_claims": 0.03}
        for port in ports:
            await world.work(faults=crossing, GATEWAY_WORKER_PORT=str(port))
        await submit_many(history, jobs, 15.0, run=0.3)
        rest = await drain(world, 100)
        sweeps = await counted(rig, ports, "gw_sweeps_total")
        lookups = await counted(rig, ports, "gw_upstream_lookups_total")
        restores = await counted(rig, ports, "gw_database_restored_total")
        submits = await submits_of(rig, world.tenants[0])
        print(
            f"\n38: {submits} submits over {sweeps:.0f} sweeps, {lookups:.0f} lookups; at rest {rest:.1f} s later"
        )
        assert sweeps >= _SWEEPS
        assert (submits, lookups, restores) == (jobs, 0, 0)
        assert '"event":"restore"' not in world.log("worker")


# --- submits in doubt ----------------------------------------------------------------------------

_IN_DOUBT = """
SELECT id FROM job WHERE state = 'submitting' AND sent_until IS NOT NULL AND lease_token IS NULL"""
_HOLD = """
UPDATE job SET next_at = now() + interval '1 hour'
WHERE state = 'submitting' AND sent_until IS NOT NULL AND lease_token IS NULL"""
_LOOK = "UPDATE job SET next_at = now() WHERE state = 'submitting' AND lease_token IS NULL"
# Looks are so far apart in place of 2 s: time to stop the first one on a machine that is slow.
# What is made up to the skew after the submits were over is read as well: 3 s of it here, not a minute.
_PATIENT = {"lookup_delay": 6.0, "lookup_skew": 3.0}
_END_SECONDS = 100.0
# Three times what two looks by bisection take; two walks would take 200.
_CALLS = 120


class Looked(NamedTuple):
    """What two jobs in doubt cost, and when others that came meanwhile had ended, and they."""

    calls: float
    others_seconds: float
    seconds: float


async def _lose_two_answers(history: History) -> list[Entry]:
    """Of two submits the answer is lost, of one after the job was taken, of the other before.

    They are not looked for before `_look` is called.
    """
    world, tenant = history.world, history.world.tenants[0]
    await until_ended(history, history.entries, 60)
    for action in ("ambiguous", "reset"):
        await add_fault(world.rig, tenant, "submit", {"type": action}, times=1)
    lost = [await history.submit(tenant, run=0.1) for _ in range(2)]

    async def are_in_doubt() -> bool:
        rows = await query(world, _IN_DOUBT)
        return {row["id"] for row in rows} == {entry.job_id for entry in lost}

    await until(are_in_doubt, 30)
    await query(world, _HOLD)
    return lost


async def _look(history: History, lost: list[Entry], port: int) -> Looked:
    """Have them looked for, as if the pause was over, while others are submitted."""
    world, name = history.world, "gw_upstream_lookup_calls_total"
    began, before = time.monotonic(), await counted(world.rig, [port], name)
    await query(world, _LOOK)
    first = len(history.entries)
    await submit_many(history, 10, 2.0, run=0.1)
    await until_ended(history, history.entries[first:], _END_SECONDS)
    others = time.monotonic() - began
    await until_ended(history, lost, _END_SECONDS)
    took = time.monotonic() - began
    calls = await counted(world.rig, [port], name) - before
    print(f"\n39: both ended after {took:.1f} s by {calls:.0f} calls; others after {others:.1f} s")
    return Looked(calls, others, took)


async def test_39_a_submit_in_doubt_among_ten_thousand_jobs(rig: Rig) -> None:
    """The list is searched by bisection, in whichever direction it is sorted.

    First 10,000 jobs are newer than the two. Each of two looks reads the newest page, which shows
    more than ten jobs of ours and so the offset of the upstream's clock; then 15 pages or so to find
    the time of the submits, and its pages. Sorted oldest first, and now with 10,000 jobs that are
    older, some 15 calls more are for the last page. A walk takes 100 calls a look.
    """
    async with drill(
        rig, "39 a long list", seconds=90, links=False, tenants=1, policy=_PATIENT
    ) as history:
        world, tenant, port = history.world, history.world.tenants[0], free_port()
        await world.work(GATEWAY_WORKER_PORT=str(port))
        await submit_many(history, 20, run=0.1)
        lost = await _lose_two_answers(history)
        # The offset is known to 5 s, and the skew is 3: what is made within them is read as well.
        await asyncio.sleep(9)
        await crowd(rig, tenant, _CROWD)
        await submit_many(history, 20, run=0.1)
        await until_ended(history, history.entries[-20:], 60)
        assert (await _look(history, lost, port)).calls <= _CALLS
        await rig.control("", {"key": tenant.upstream_key, "defaults": {"listOrder": "asc"}})
        lost = await _lose_two_answers(history)
        await submit_many(history, 20, run=0.1)
        await until_ended(history, history.entries[-20:], 60)
        assert (await _look(history, lost, port)).calls <= _CALLS


@pytest.mark.parametrize(("order", "seconds"), [("desc", 0.16), ("asc", 0.02)])
async def test_39_a_submit_in_doubt_where_a_page_is_one_job(
    rig: Rig, order: str, seconds: float
) -> None:
    """A page shows too few jobs to know the offset, so the list is read from the newest job on.

    That is some 80 calls for each of two looks. With pages that take 0.16 s it is more than a round
    of 11 s as well, and the lookup goes on where it was.
    """
    async with drill(
        rig, f"39 pages of one job, {order}", seconds=90, links=False, tenants=1, policy=_PATIENT
    ) as history:
        world, tenant, port = history.world, history.world.tenants[0], free_port()
        defaults = {"maxPageSize": 1, "listOrder": order}
        await rig.control("", {"key": tenant.upstream_key, "defaults": defaults})
        await world.work(GATEWAY_WORKER_PORT=str(port))
        lost = await _lose_two_answers(history)
        await crowd(rig, tenant, 70)
        await add_fault(rig, tenant, "list", {"type": "delay", "seconds": seconds})
        looked = await _look(history, lost, port)
        assert looked.calls <= 3 * _CALLS
        assert order == "asc" or looked.others_seconds < looked.seconds / 2


# --- late ends -----------------------------------------------------------------------------------


async def test_40_ends_deep_in_a_list_are_told_in_time(rig: Rig) -> None:
    """400 jobs run long, and end one by one behind 9,600 that are newer and ended at once.

    Each is told within 7 s here, by 0.4 calls a job; where they were asked about one by one, twenty a
    round, a quarter of them was not told after 200 s.
    """
    async with drill(rig, "40 late ends", seconds=60, links=False, tenants=1) as history:
        world, tenant, port, jobs = history.world, history.world.tenants[0], free_port(), 400
        await world.work(GATEWAY_WORKER_PORT=str(port))
        entries = await history.submit_batch(tenant, jobs, plan={"runSeconds": [10, 16]})

        async def are_upstream() -> bool:
            return await submits_of(rig, tenant) == jobs

        await until(are_upstream, 60)
        await crowd(rig, tenant, _CROWD - jobs)
        await drain(world, 150)
        calls = await counted(rig, [port], "gw_upstream_poll_calls_total")
        late = await _lateness(rig, entries)
        half, last = late[jobs // 2], late[-1]
        print(f"\n40: told after {half:.1f} s, at most {last:.1f} s; {calls / jobs:.2f} calls")
        assert last < 30
        assert calls < 1.2 * jobs


async def _lateness(rig: Rig, entries: list[Entry]) -> list[float]:
    """The seconds from each end at the upstream to its webhook, sorted."""
    ours = {str(entry.job_id) for entry in entries}
    found = await rig.observe("/jobs?limit=1000000")
    ended = {one["marker"]: one["completedAt"] for one in found if one["marker"] in ours}
    heard: dict[str, float] = {}
    for one in await rig.received():
        if one["jobId"] in ours and one["type"] == "job.succeeded":
            at = datetime.fromisoformat(one["receivedAt"]).timestamp()
            heard.setdefault(one["jobId"], at)
    assert heard.keys() == ours
    return sorted(heard[id_] - ended[id_] for id_ in ours)


# --- all at once ---------------------------------------------------------------------------------

_BEATS = "SELECT count FROM beacon"
_TAKEN = "SELECT count(*) FROM job WHERE upstream_id IS NOT NULL"
_SOME, _FEW = 300, 20
_HELD = "SELECT count(*) FROM job WHERE state = 'submitting' AND lease_token IS NOT NULL"
_DOUBTS = "SELECT DISTINCT job_id FROM job_event WHERE type = 'submit.in_doubt'"


async def test_41_a_burst_through_a_sweep_a_kill_and_a_lost_answer(rig: Rig) -> None:
    """They sweep each second, so that one sweep at least falls into the seconds of the burst.

    Submits take 0.3 s, so that the killed worker has many under way. They are taken over, and looked
    up, when its lease of 26 s is over.
    """
    async with drill(rig, "41 burst", seconds=120, links=False, tenants=1) as history:
        world, tenant, faults = history.world, history.world.tenants[0], {"sweep": 1}
        first, _ = [await world.work(faults=faults) for _ in range(2)]
        await submit_many(history, 2)
        await until_ended(history, history.entries, 30)
        await add_fault(rig, tenant, "submit", {"type": "ambiguous"}, times=1)
        await add_fault(rig, tenant, "submit", {"type": "delay", "seconds": 0.3})
        beats = await _counted(world, _BEATS)
        await asyncio.gather(*(history.submit_batch(tenant, 1_000, run=0.5) for _ in range(2)))

        async def is_in_the_middle() -> bool:
            has_begun = await _counted(world, _TAKEN) > _SOME
            has_swept = await _counted(world, _BEATS) > beats
            return has_begun and has_swept and await _counted(world, _HELD) > _FEW

        await until(is_in_the_middle, 60)
        await first.kill()
        taken, held = await _counted(world, _TAKEN), await _counted(world, _HELD)
        await world.work(faults=faults)
        rest = await drain(world, 120)
        doubts = await query(world, _DOUBTS)
    print(f"41: killed after {taken} submits, {held} claimed; all had ended {rest:.1f} s later")
    assert taken < len(history.entries)
    assert held
    assert doubts


# --- a backlog -----------------------------------------------------------------------------------

_BACKLOG = 3_000
_ARRIVED = "SELECT count(*) FROM delivery WHERE endpoint_id = $1::uuid AND state = 'delivered'"
_OTHERS = "SELECT count(*) FROM delivery WHERE endpoint_id <> $1::uuid AND state = 'delivered'"


async def test_42_a_receiver_hangs_amid_its_backlog(rig: Rig) -> None:
    """Its requests are held on the way, then go on: some arrive twice, under the same id."""
    port = int(rig.receiver.rpartition(":")[2])
    # So many and such long delays that no delivery is given up, however long the rest takes.
    tries = {"DELIVERY_TIMEOUT_SECONDS": "2", "DELIVERY_DELAYS": "1,2,4,8,16,30,30"}
    env = {f"GATEWAY_{name}": value for name, value in tries.items()}
    async with (
        proxied(HOST, port) as link,
        drill(rig, "42 backlog", seconds=90, links=False, tenants=3, **env) as history,
    ):
        world, others = history.world, list(history.world.tenants)
        busy = await world.add_tenant(hook=False)
        path = f"/hook/{busy.slug}"
        endpoint = await world.add_endpoint(busy, f"http://{HOST}:{link.port}{path}")
        await rig.behave(path, delaySeconds=0.002, times=None)
        await owe(world, endpoint, _BACKLOG)
        await world.work()
        await until(partial(_is_beyond, world, _ARRIVED, endpoint, _BACKLOG // 3), 60)
        link.stall()
        arrived = await _counted(world, _ARRIVED, endpoint)
        began = time.monotonic()
        for number in range(30):
            await history.submit(others[number % len(others)], run=0.1)
        await until(partial(_is_beyond, world, _OTHERS, endpoint, 30), 30)
        took = time.monotonic() - began
        assert arrived < _BACKLOG
        await asyncio.sleep(max(4 - took, 0))
        link.heal()
        began = time.monotonic()
        await until(partial(_is_beyond, world, _ARRIVED, endpoint, _BACKLOG), 90)
        rest = time.monotonic() - began
    ids = [one["webhookId"] for one in await rig.received() if one["path"] == path]
    twice = len(ids) - len(set(ids))
    print(f"42: hung after {arrived}; others told after {took:.1f} s; {twice} twice; {rest:.1f} s")


async def _is_beyond(world: World, sql: str, endpoint: str, least: int) -> bool:
    return await _counted(world, sql, endpoint) >= least
