"""Makes jobs at the upstream past the gateway, and counts the calls of workers."""

import asyncio
import re
from collections.abc import Sequence

import aiohttp
import msgspec

from tests.faults.harness.history import job
from tests.faults.harness.rig import HOST, Rig
from tests.faults.harness.world import Tenant

# The simulator takes about two thousand jobs a second this way, of one process.
_AT_ONCE = 16


async def crowd(rig: Rig, tenant: Tenant, count: int) -> None:
    """Make jobs with a tenant's key past the gateway: without our marker, and ended at once."""
    body = msgspec.json.encode({**job(run=0.0), "metadata": {"from": "elsewhere"}})
    left = iter(range(count))
    async with aiohttp.ClientSession(headers={"Authorization": tenant.upstream_key}) as session:

        async def make() -> None:
            for _ in left:
                async with session.post(f"{rig.simulator}/v1/job", data=body) as answer:
                    assert answer.status == 200, await answer.text()

        await asyncio.gather(*(make() for _ in range(_AT_ONCE)))


async def counted(rig: Rig, ports: Sequence[int], metric: str) -> float:
    """The sum of a counter over its labels and the workers that serve their metrics at these ports."""
    total = 0.0
    for port in ports:
        page = await rig.client.get(f"http://{HOST}:{port}/metrics")
        lines = re.findall(rf"^{metric}(?:\{{.*\}})? (\S+)$", page.text, re.MULTILINE)
        total += sum(map(float, lines))
    return total


async def submits_of(rig: Rig, tenant: Tenant) -> int:
    """How many submits the simulator has heard from a tenant's key."""
    return (await rig.observe("/stats"))["calls"].get(tenant.upstream_key, {}).get("submit", 0)
