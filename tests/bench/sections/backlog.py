"""How fast a large backlog for one receiver goes out, and what nine others notice of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.bench.harness.debts import Debts, lasting, start_debts
from tests.bench.harness.owed import forget, owe
from tests.bench.harness.parts import Meter, Servers
from tests.bench.options import BACKLOG, Options
from tests.bench.sections.latency import spread

_ANSWER_MILLISECONDS = 2
_OWED = 20_000
_OTHERS = 9
_PACE = 9.0  # one delivery a second to each of the others
_WARM_UP = 200
_PATIENCE_SECONDS = 180.0
# The worker writes down the last deliveries a moment after the receiver has them.
_RECORDED_SECONDS = 0.5


async def measure_backlog(servers: Servers, options: Options, turn: int) -> dict[str, Any]:
    """The nine alone, then beside the backlog, at the same pace."""
    started = start_debts(
        BACKLOG, servers, turn=turn, ports=1 + _OTHERS, milliseconds=_ANSWER_MILLISECONDS
    )
    async with started as debts:
        alone = await _alone(debts, options.paced_seconds)
        found = await _beside(debts, options.share_of(_OWED))
    ratio = found["othersSeconds"]["p99"] / max(alone["p99"], 1e-4)
    return {**found, "aloneSeconds": alone, "othersP99ToAlone": round(ratio, 3)}


async def _alone(debts: Debts, seconds: float) -> dict[str, float]:
    async with debts.gateway.worker():
        await debts.heard(await debts.owe(debts.well, _WARM_UP))
        return spread(await debts.waits(await debts.paced(debts.well[1:], _PACE, lasting(seconds))))


async def _beside(debts: Debts, count: int) -> dict[str, Any]:
    await forget(debts.connection)
    async with debts.gateway.worker() as worker:
        await debts.heard(await debts.owe(debts.well, _WARM_UP))
        before = await debts.outside.heard()
        backlog = await owe(debts.connection, debts.well[:1], count)
        postgres = debts.gateway.servers.postgres.pid
        meter = Meter({"worker": worker.pid, "postgres": postgres})
        started_at = time.time()
        debts.wake()
        others = await debts.paced(debts.well[1:], _PACE, _until(debts, before + count))
        waits = await debts.waits(others)
        arrived = await debts.heard(backlog)
        await asyncio.sleep(_RECORDED_SECONDS)
        cpu = meter.milliseconds(count + len(others))
    return {
        "deliveries": count,
        "perSecond": round(count / (max(arrived) - started_at), 1),
        "othersSeconds": spread(waits),
        "othersDeliveries": len(others),
        "cpuMs": cpu,
    }


def _until(debts: Debts, webhooks: int) -> Callable[[], Awaitable[bool]]:
    """Whether fewer webhooks have come than that; the few of the others hardly change it."""
    in_time = lasting(_PATIENCE_SECONDS)

    async def goes_on() -> bool:
        return await in_time() and await debts.outside.heard() < webhooks

    return goes_on
