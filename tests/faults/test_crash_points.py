"""A process is killed at each crash point and started again, and every promise still holds."""

import asyncio
import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import pytest
from asyncpg import LockNotAvailableError
from redis.asyncio import Redis

from gateway.adapters.wakeups.redis_commands import BEACON
from tests.bench.harness.parts import ROOT
from tests.faults.checker import check
from tests.faults.drills.drill import TERMINATE
from tests.faults.harness.drain import connect, drain, pass_time
from tests.faults.harness.fork_server import Child
from tests.faults.harness.history import Entry, History
from tests.faults.harness.rig import Rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import SHORT, Tenant, World, start_world

POINTS = {
    "accept": ("inserted", "committed", "woken"),
    "batch": ("inserted", "committed"),
    "submit": ("claimed", "sent", "recorded", "committed"),
    "doubt": ("claimed", "looked", "recorded", "committed"),
    "claim": ("returned",),
    "poll": ("claimed", "matched", "answered", "asked", "settled", "committed", "released"),
    "settle": ("finished", "published"),
    "deliver": ("claimed", "sent", "recorded", "committed"),
    "sweep": ("settled", "committed"),
    "delete": ("marked", "committed", "told"),
    "restore": ("distrusted", "committed"),
    "bulk": ("claimed", "recorded", "committed"),
    "prune": ("committed",),
}
# Together, as each mostly waits for leases and sweeps.
GROUPS = {
    "accept, batch and delete": ("accept", "batch", "delete"),
    "submit and doubt": ("submit", "doubt"),
    "claim and poll": ("claim", "poll"),
    "settle, deliver and sweep": ("settle", "deliver", "sweep"),
    "restore, bulk and prune": ("restore", "bulk", "prune"),
}
_IN_API = ("accept", "batch", "delete")
# A backup is restored: what happened since, and the beacon's number, are gone.
_GO_BACK = (
    "DELETE FROM attempt",
    "DELETE FROM delivery",
    "DELETE FROM event",
    """UPDATE job SET state = 'accepted', upstream_id = NULL, submitted_at = NULL, started_at = NULL,
      sent_at = NULL, submit_attempts = 0, lease_token = NULL, credential_id = NULL
      WHERE state IN ('submitted', 'running')""",
    "UPDATE beacon SET count = 1",
)
_BEFORE = {
    "restore": ("UPDATE beacon SET count = 100",),
    # Not before there is something to prune.
    "prune": ("UPDATE tenant SET pruned_at = now()",),
}
# In days: what has ended goes at once, but for what the checker looks at.
_KEEP_NOTHING = {"payloads": 1e-6, "jobs": 0, "attempts": 1e-6, "events": 0}
_REACHED = re.compile(r"\bcrash_point\(\s*[\"']([a-z.]+)")
_ANY = re.compile(r"\bcrash_point\((?!\w*:)")


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
    flow, in_api = point.partition(".")[0], point.startswith(_IN_API)
    policy = {**SHORT, "keep_days": _KEEP_NOTHING} if flow == "prune" else SHORT
    async with start_world(rig, policy=policy, die_at=point if in_api else "") as world:
        history = History(world)
        await _run(world, *_BEFORE.get(flow, ()))
        worker = await world.work("" if in_api else point)
        doomed = world.api if in_api else worker
        assert doomed is not None
        load = asyncio.create_task(_LOADS.get(flow, _load)(history))
        try:
            try:
                status = await _end_of(doomed, load)
            except TimeoutError:
                pytest.fail(f"{point}: not reached\n{world.complaints()}")
            assert status == -9, f"{point}: ended by itself ({status})"
            await (world.serve() if in_api else world.work())
            await load
        finally:
            load.cancel()
        await pass_time(world)
        await drain(world, 60)
        return await check(history)


# So that nobody notes an attempt of a delivery that is gone.
_STARTED_AND_TOLD = """
SELECT (SELECT count(*) FROM job WHERE state <> 'running')
  + (SELECT count(*) FROM delivery WHERE state = 'pending') = 0"""


async def _end_of(doomed: Child, load: "asyncio.Task[None]") -> int:
    ending = asyncio.create_task(doomed.ended())
    try:
        await asyncio.wait({ending, load}, return_when=asyncio.FIRST_COMPLETED)
        if load.done():
            await load  # where it failed, nothing more will happen
        return await ending
    finally:
        ending.cancel()


async def _go_back(history: History) -> None:
    """The database forgets that a job is upstream, though its number was higher; then the load."""
    world = history.world
    running = [await history.submit(tenant, run=20) for tenant in world.tenants]
    for entry in running:
        await until(lambda entry=entry: _is_upstream(history, entry), 30)
    await until(partial(_holds, world, _STARTED_AND_TOLD), 30)
    async with Redis.from_url(world.env["GATEWAY_REDIS_URL"]) as redis:
        await until(lambda: redis.exists(BEACON), 30)
    await _run(world, *_GO_BACK)
    await _load(history)


async def _load_a_little(history: History) -> None:
    many, few = history.world.tenants
    await asyncio.gather(
        *(history.submit(many, run=0.1) for _ in range(4)),
        *(history.submit(few, workflow="no-such-workflow") for _ in range(2)),
    )


async def _work_in_bulk(history: History) -> None:
    """Some jobs; then they are sent again, run again, and cancelled by filters."""
    world = history.world
    many, few = world.tenants
    await _load_a_little(history)
    await drain(world, 60)
    doomed = await history.submit_batch(many, 3, run=60)
    for entry in doomed:
        await until(lambda entry=entry: _is_upstream(history, entry), 60)
        entry.deleted = True
    wanted = {"batchName": [doomed[0].given_key]}
    history.retrying.add(few.slug)
    begun = [
        (tenant, await world.told("POST", f"/v1/{path}", tenant.key, {"filter": filter_}))
        for tenant, path, filter_ in (
            (many, "delivery/resend", {"status": ["delivered"]}),
            (few, "job/retry", {"status": ["FAILED"]}),
            (many, "job/cancel", wanted),
        )
    ]
    assert [operation["total"] > 0 for _, operation in begun] == [True] * 3
    for tenant, operation in begun:
        await until(partial(_is_done, world, tenant, operation["id"]), 60)


async def _is_done(world: World, tenant: Tenant, operation_id: str) -> bool:
    operation = await world.told("GET", f"/v1/bulk/{operation_id}", tenant.key)
    return operation["state"] == "done" and operation["done"] == operation["total"]


async def _lose_connections(history: History) -> None:
    """Jobs whose claims are held up and lose their connections, as long as the worker lives."""
    (worker,) = history.world.workers
    while worker.alive:
        await _cut_a_claim(history, worker)
        with suppress(TimeoutError):  # a new connection gives back what the last one took
            await worker.ended(5)


_IS_HELD_UP = """
SELECT EXISTS (SELECT FROM pg_stat_activity
  WHERE datname = current_database() AND wait_event_type = 'Lock')"""


async def _cut_a_claim(history: History, worker: Child) -> None:
    """The worker stands still until a job is there and the table is locked, so its claim meets the lock."""
    world = history.world
    connection = await connect(world)
    try:
        async with connection.transaction():
            worker.signal(signal.SIGSTOP)
            await history.submit(world.tenants[0], run=1)
            await connection.execute("SET LOCAL lock_timeout = '1s'")
            await connection.execute("LOCK TABLE job IN EXCLUSIVE MODE")
            worker.signal(signal.SIGCONT)
            with suppress(TimeoutError):
                await until(partial(_holds, world, _IS_HELD_UP), 5)
            await connection.execute(TERMINATE)
    except LockNotAvailableError:
        return  # it stopped while it was writing
    finally:
        worker.signal(signal.SIGCONT)
        await connection.close()


async def _grow_old(history: History) -> None:
    """Some jobs; and when all of them have ended, they are old."""
    world = history.world
    await _load_a_little(history)
    await drain(world, 60)
    await _run(world, "UPDATE tenant SET pruned_at = NULL")
    await until(partial(_holds, world, _PRUNED), 60)


_PRUNED = """
SELECT (SELECT count(*) FROM tenant WHERE pruned_at IS NULL) + (SELECT count(*) FROM attempt)
  + (SELECT count(*) FROM job WHERE params::text <> '{}') = 0"""


async def _holds(world: World, sql: str) -> bool:
    connection = await connect(world)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def _run(world: World, *statements: str) -> None:
    connection = await connect(world)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _delete_on(history: History) -> None:
    """The load, and jobs deleted until the API dies: a worker's sweep may tell the upstream first."""
    doomed = history.world.api
    assert doomed is not None
    await _load(history)
    while doomed.alive:
        await _submit_and_delete(history, is_running=True)


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
        history.submit_batch(few, 3),
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


_LOADS = {
    "delete": _delete_on,
    "claim": _lose_connections,
    "restore": _go_back,
    "bulk": _work_in_bulk,
    "prune": _grow_old,
}
