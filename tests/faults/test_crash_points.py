"""A process dies by SIGKILL at every crash point once, is started again, and nothing is amiss."""

import asyncio
import re
from collections.abc import Sequence

import pytest

from tests.bench.parts import ROOT
from tests.faults.checker import check
from tests.faults.history import Entry, History
from tests.faults.rest import drain, pass_time
from tests.faults.rig import Rig
from tests.faults.waiting import until
from tests.faults.world import SHORT, start_world

POINTS = {
    "accept": ("inserted", "committed", "woken"),
    "submit": ("claimed", "sent", "recorded", "committed"),
    "doubt": ("claimed", "looked", "recorded", "committed"),
    "poll": ("claimed", "matched", "answered", "asked", "settled", "committed", "released"),
    "settle": ("finished", "published"),
    "deliver": ("claimed", "sent", "recorded", "committed"),
    "sweep": ("settled", "committed"),
    "delete": ("marked", "committed", "told"),
}
# Together, as each mostly waits for leases and sweeps.
GROUPS = {
    "accept and delete": ("accept", "delete"),
    "submit and doubt": ("submit", "doubt"),
    "poll": ("poll",),
    "settle, deliver and sweep": ("settle", "deliver", "sweep"),
}
_IN_API = ("accept", "delete")
_REACHED = re.compile(r"\breached\(\s*[\"']([a-z.]+)")
_ANY = re.compile(r"\breached\((?!\w*:)")


def test_every_crash_point_has_its_scenario() -> None:
    source = "".join(file.read_text() for file in (ROOT / "gateway").rglob("*.py"))
    found = _REACHED.findall(source)
    assert len(found) == len(_ANY.findall(source)), "a crash point is not named by a literal"
    assert len(found) == len(set(found))
    assert sorted(POINTS) == sorted(flow for flows in GROUPS.values() for flow in flows)
    assert set(found) == {f"{flow}.{step}" for flow, steps in POINTS.items() for step in steps}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("flows", GROUPS.values(), ids=GROUPS)
async def test_a_process_killed_at_a_crash_point_loses_and_repeats_nothing(
    rig: Rig, flows: Sequence[str]
) -> None:
    points = [f"{flow}.{step}" for flow in flows for step in POINTS[flow]]
    breaches = await asyncio.gather(*(_die_at(rig, point) for point in points))
    assert dict(zip(points, breaches, strict=True)) == {point: [] for point in points}


async def _die_at(rig: Rig, point: str) -> Sequence[str]:
    in_api = point.startswith(_IN_API)
    async with start_world(rig, policy=SHORT, die_at=point if in_api else "") as world:
        history = History(world)
        worker = await world.work("" if in_api else point)
        doomed = world.api if in_api else worker
        assert doomed is not None
        load = asyncio.create_task(_load(history))
        try:
            status = await doomed.ended(30)
            assert status == -9, f"{point}: ended by itself ({status})"
            await (world.serve() if in_api else world.work())
            await load
        finally:
            load.cancel()
        await pass_time(world)
        await drain(world, 60)
        return await check(history)


async def _load(history: History) -> None:
    """What makes a healthy gateway come by every crash point; about 20 jobs."""
    many, few = history.world.tenants
    callback = f"{history.world.hooks}/hook/{many.slug}/callback"
    await history.world.rig.control(
        "/faults",
        {
            "match": {"route": "submit", "key": many.upstream_key},
            "times": 2,
            "action": {"type": "ambiguous", "then": "reset"},
        },
    )
    await asyncio.gather(
        *(history.submit(many, run=0.3 + 0.1 * n) for n in range(10)),
        *(history.submit(many, callbackUrl=callback) for _ in range(2)),
        *(history.submit(few, run=0.5 * n) for n in range(3)),
        history.submit(few, workflow="no-such-workflow"),
        history.submit(few, run=60, deadline=2),
        _submit_and_delete(history, is_running=True),
        _submit_and_delete(history, is_running=False),
    )


async def _submit_and_delete(history: History, *, is_running: bool) -> None:
    entry = await history.submit(history.world.tenants[0], run=60)
    if is_running:
        await until(lambda: _is_upstream(history, entry), 60)
    await history.delete(entry)


async def _is_upstream(history: History, entry: Entry) -> bool:
    job = await history.read(entry)
    return job is not None and job["gateway"]["upstreamId"] is not None
