"""A tenant whose receiver is dead owes it ten thousand deliveries; its neighbours must not feel it."""

import asyncio
from datetime import UTC, datetime

import pytest

from tests.faults.drills.drill import drill, owe, query, submit_many, until_ended
from tests.faults.harness import odd_receivers
from tests.faults.harness.history import History
from tests.faults.harness.odd_receivers import listening
from tests.faults.harness.rig import HOST, Rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

_BACKLOG = 10_000
# What a receiver that has not answered yet is sent at a time, by each of the workers.
_START = 10
_WORKERS = 2
_JOBS = 100
_SECONDS = 5.0
# A machine that is busy with other things makes single deliveries late by so much.
_SLACK_SECONDS = 1.0

_LATENESS = """
SELECT percentile_cont(0.99) WITHIN GROUP (
  ORDER BY EXTRACT(epoch FROM d.completed_at - e.created_at))::float8 AS p99
FROM delivery d JOIN event e ON e.id = d.event_id JOIN tenant t ON t.id = d.tenant_id
WHERE t.slug = ANY($1::text[]) AND d.state = 'delivered' AND e.created_at >= $2"""


async def test_27_a_dead_endpoint_with_a_backlog(rig: Rig) -> None:
    async with (
        listening(odd_receivers.hang) as dead,
        drill(rig, "27 noisy neighbour", links=False, tenants=4) as history,
    ):
        world = history.world
        noisy = await world.add_tenant(hook=False)
        world.tenants.remove(noisy)
        await world.work()
        quiet = await _measure(history)
        endpoint = await world.add_endpoint(noisy, f"http://{HOST}:{dead.port}/")
        await owe(world, endpoint, _BACKLOG)

        async def is_hanging() -> bool:
            return dead.present >= _START

        await until(is_hanging, 30)
        loud = await _measure(history)
        assert dead.most <= _WORKERS * _START
        await world.told("DELETE", f"/v1/endpoint/{endpoint}", noisy.key)
        world.tenants.append(noisy)
    print(f"\n27: the neighbours' p99 was {quiet:.2f} s, with the backlog {loud:.2f} s")
    assert loud < 2 * quiet + _SLACK_SECONDS


async def _measure(history: History) -> float:
    """Seconds from the events of a steady load to their deliveries, the 99th percentile."""
    world: World = history.world
    began, first = datetime.now(UTC), len(history.entries)
    await submit_many(history, _JOBS, _SECONDS, run=0.3)
    await until_ended(history, history.entries[first:], 30)
    await asyncio.sleep(1)
    return (await query(world, _LATENESS, [one.slug for one in world.tenants], began))[0]["p99"]
