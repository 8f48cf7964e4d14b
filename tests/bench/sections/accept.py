"""Accepts and replays of ours beside the floor's accepts, in turns."""

import asyncio
import statistics
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from gateway.embedded import free_port
from tests.bench.baselines import floor
from tests.bench.harness.gateways import TENANTS, body, make_gateway
from tests.bench.harness.load import NUMBER, Load
from tests.bench.harness.parts import Meter, Running, Servers, send, start, start_outside
from tests.bench.options import Options

OURS, FLOOR, REPLAY = "ours", "floor", "replay"
_REPLAYED = 1000
_RUN_SECONDS = 2.0
_KEY = f"Idempotency-Key: %s-{NUMBER}\r\n"
_MOST_ACCEPTS = 1_000_000
_SETTLE_SECONDS = 0.5


class _Contest:
    """The rivals, and what was measured of each, a row for a round."""

    def __init__(self, postgres: int, ours: Running, keys: list[str], rival: Running) -> None:
        self._postgres = postgres
        self._servers = {OURS: ours, FLOOR: rival, REPLAY: ours}
        self._keys = keys
        self._turn = 0
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in self._servers}

    async def warm_up(self) -> None:
        """Let every path run once; makes the jobs that are replayed."""
        await send(self._load(REPLAY, count=_REPLAYED))
        for name in self.rows:
            await send(self._load(name, seconds=0.5))

    async def round(self, seconds: float) -> None:
        """One turn of each."""
        for name, server in self._servers.items():
            await asyncio.sleep(_SETTLE_SECONDS)
            meter = Meter({"server": server.pid, "postgres": self._postgres})
            outcome = await send(self._load(name, seconds=seconds))
            cpu = meter.milliseconds(outcome.count)
            self.rows[name].append(
                {
                    "accepts": outcome.count,
                    "ratePerSecond": round(outcome.rate, 1),
                    "p50Seconds": round(outcome.p50, 4),
                    "p99Seconds": round(outcome.p99, 4),
                    "serverCpuMs": cpu["server"],
                    "postgresCpuMs": cpu["postgres"],
                    "cpuMs": round(cpu["server"] + cpu["postgres"], 3),
                }
            )

    def _load(self, name: str, *, seconds: float = 0.0, count: int = 0) -> Load:
        self._turn += 1
        return Load(
            port=self._servers[name].port,
            path="/v1/job",
            keys=[floor.KEY] if name == FLOOR else self._keys,
            body=body(_RUN_SECONDS),
            headers=_KEY % ("again" if name == REPLAY else "new"),
            seconds=seconds,
            count=count,
            first=0 if name == REPLAY else self._turn * _MOST_ACCEPTS,
            distinct=_REPLAYED if name == REPLAY else 0,
        )


async def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Medians and ratios; no worker runs."""
    async with AsyncExitStack() as stack:
        outside = await stack.enter_async_context(start_outside(servers.folder))
        gateway = await make_gateway("accept", servers, outside)
        ours = await stack.enter_async_context(gateway.api())
        await gateway.seed(ours)
        url = await servers.database("floor", migrated=False)
        rival = await stack.enter_async_context(_start_floor(servers, url))
        contest = _Contest(servers.postgres.pid, ours, gateway.keys, rival)
        await contest.warm_up()
        for _ in range(options.rounds):
            await contest.round(options.accept_seconds)
    return _summary(contest.rows)


def _start_floor(servers: Servers, database: str) -> AbstractAsyncContextManager[Running]:
    port = free_port()
    command = (
        *("granian", "--interface", "asgi", "--loop", "uvloop", "--workers", "1"),
        *("--log-level", "warning", "--port", str(port), "tests.bench.baselines.floor:app"),
    )
    return start(servers.folder, "floor", *command, port=port, env={floor.DATABASE: database})


def _summary(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    def middle(name: str, figure: str) -> float:
        return statistics.median(row[figure] for row in rows[name])

    def ratio(one: str, other: str, figure: str) -> float:
        pairs = zip(rows[one], rows[other], strict=True)
        return round(statistics.median(a[figure] / b[figure] for a, b in pairs), 3)

    medians = {name: {figure: middle(name, figure) for figure in rows[name][0]} for name in rows}
    return {
        "tenants": TENANTS,
        "medians": medians,
        "rateToFloor": ratio(OURS, FLOOR, "ratePerSecond"),
        "cpuToFloor": ratio(OURS, FLOOR, "cpuMs"),
        "replayCpuToFresh": ratio(REPLAY, OURS, "cpuMs"),
        "rounds": rows,
    }
