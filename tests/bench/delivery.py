"""How fast one worker delivers webhooks, with ten dead endpoints among a hundred and without."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from gateway.adapters.clock import SystemClock, SystemIds
from gateway.adapters.queue import ArqQueue
from gateway.embedded import free_port
from tests.bench.gateways import Gateway, make_gateway
from tests.bench.options import Options
from tests.bench.owed import BODY_BYTES, Connection, Endpoint, connected, forget, hanging, owe
from tests.bench.parts import Meter, Outside, Running, Servers, start, start_outside

ENDPOINTS = 100
DEAD = 10
ALL_WELL, SOME_DEAD = "allWell", "someDead"
_OWED_TO_DEAD = 200  # each: twice what it takes to fill the worker, all of them together
_HUNG_SECONDS = 3.0
_WARM_UP = 500
_PATIENCE_SECONDS = 60.0
# The worker writes down the last deliveries a moment after the receiver has them.
_RECORDED_SECONDS = 0.5
_STEP_SECONDS = 0.05


@dataclass(slots=True)
class _Contest:
    """A gateway with its receivers, and what was measured in each turn."""

    gateway: Gateway
    outside: Outside
    connection: Connection
    queue: ArqQueue
    well: Sequence[Endpoint]
    dead: Sequence[Endpoint]
    options: Options
    heard: int = 0
    rows: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {ALL_WELL: [], SOME_DEAD: []}
    )

    async def round(self) -> None:
        """One turn of each, at the same pace."""
        pace = await self._turn(ALL_WELL, self.well, (), 0.0)
        await self._turn(SOME_DEAD, self.well[:-DEAD], self.dead, pace)

    async def _turn(
        self, name: str, well: Sequence[Endpoint], dead: Sequence[Endpoint], pace: float
    ) -> float:
        await forget(self.connection)
        async with self.gateway.worker() as worker:
            await self._heard(await self._owe(well, _WARM_UP))
            if dead:
                await self._owe(dead, len(dead) * _OWED_TO_DEAD)
                await asyncio.sleep(_HUNG_SECONDS)
            row = await self._backlog(worker, well)
            pace = pace or row["perSecond"] / 2
            row |= {"pacePerSecond": round(pace, 1), **await self._paced(well, pace)}
        self.rows[name].append(row)
        return pace

    async def _backlog(self, worker: Running, well: Sequence[Endpoint]) -> dict[str, Any]:
        count = self.options.deliveries
        owed = await self._owe(well, count, wakes=False)
        meter = Meter(
            {
                "worker": worker.pid,
                "postgres": self.gateway.servers.postgres.pid,
                "receiver": self.outside.receiver.pid,
            }
        )
        started_at = time.time()
        self.queue.wake("deliver")
        arrived = await self._heard(owed)
        await asyncio.sleep(_RECORDED_SECONDS)
        cpu = meter.milliseconds(count)
        ours = round(cpu["worker"] + cpu["postgres"], 3)
        return {
            "perSecond": round(count / (max(arrived) - started_at), 1),
            "cpuMs": cpu | {"ours": ours},
        }

    async def _paced(self, well: Sequence[Endpoint], pace: float) -> dict[str, Any]:
        owed: dict[str, float] = {}
        started = time.monotonic()
        while (lasted := time.monotonic() - started) < self.options.paced_seconds:
            due = round(lasted * pace) - len(owed)
            if due > 0:
                # A random place to begin at would favour nobody; this one favours the last.
                first = len(owed) % len(well)
                owed |= await self._owe([*well[first:], *well[:first]], due)
            await asyncio.sleep(_STEP_SECONDS)
        arrived = await self._heard(owed)
        waits = [at - since for at, since in zip(arrived, owed.values(), strict=True)]
        parts = statistics.quantiles(waits, n=100, method="inclusive")
        return {"p50Seconds": round(parts[49], 4), "p99Seconds": round(parts[98], 4)}

    async def _owe(
        self, endpoints: Sequence[Endpoint], count: int, *, wakes: bool = True
    ) -> dict[str, float]:
        owed = await owe(self.connection, endpoints, count)
        if wakes:
            self.queue.wake("deliver")
        return owed

    async def _heard(self, owed: dict[str, float]) -> list[float]:
        """Wait for webhooks; when each came. Raises RuntimeError when one does not."""
        self.heard += len(owed)
        await self.outside.heard_of(self.heard, _PATIENCE_SECONDS)
        arrivals = await self.outside.arrivals()
        missing = sum(job not in arrivals for job in owed)
        if missing:
            raise RuntimeError(
                f"{missing} of {len(owed)} webhooks did not come within {_PATIENCE_SECONDS:.0f} s."
                f" The worker's complaints:\n{self.gateway.complaints('worker')}"
            )
        return [arrivals[job] for job in owed]


async def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Medians and ratios; no API runs while it is measured."""
    async with AsyncExitStack() as stack:
        port = free_port()
        command = ("tests.bench.receiver", str(port), str(ENDPOINTS))
        sink = await stack.enter_async_context(start(servers.folder, "sink", *command, port=port))
        outside = await stack.enter_async_context(start_outside(servers.folder))
        outside = replace(outside, receiver=sink)
        dead = await stack.enter_async_context(hanging(DEAD))
        gateway = await make_gateway("delivery", servers, outside)
        well = [f"http://127.0.0.1:{port}/hook" for port in await outside.ports()]
        async with gateway.api() as api:
            await gateway.seed(api)
            await _add(api, gateway.keys, [*well, *dead])
        connection = await stack.enter_async_context(connected(gateway.env["GATEWAY_DATABASE_URL"]))
        redis_url = gateway.env["GATEWAY_REDIS_URL"]
        queue = await stack.enter_async_context(ArqQueue(redis_url, SystemClock(), SystemIds()))
        contest = _Contest(
            gateway,
            outside,
            connection,
            queue,
            await _of(connection, well),
            await _of(connection, dead),
            options,
        )
        for _ in range(options.rounds):
            await contest.round()
    return _summary(contest.rows, options)


async def _add(api: Running, keys: Sequence[str], urls: Sequence[str]) -> None:
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as client:
        for number, url in enumerate(urls):
            headers = {"Authorization": keys[number % len(keys)]}
            answer = await client.post("/v1/endpoint", headers=headers, json={"url": url})
            if answer.status_code != 200:
                raise RuntimeError(f"{answer.status_code} {answer.text}")


async def _of(connection: Connection, urls: Sequence[str]) -> list[Endpoint]:
    found = "SELECT tenant_id, id FROM endpoint WHERE url = ANY($1) ORDER BY id"
    return [Endpoint(*row) for row in await connection.fetch(found, urls)]


def _summary(rows: dict[str, list[dict[str, Any]]], options: Options) -> dict[str, Any]:
    def ratio(figure: str) -> float:
        pairs = zip(rows[SOME_DEAD], rows[ALL_WELL], strict=True)
        return round(statistics.median(a[figure] / b[figure] for a, b in pairs), 3)

    figures = ("perSecond", "pacePerSecond", "p50Seconds", "p99Seconds")
    medians: dict[str, dict[str, Any]] = {}
    for name, turns in rows.items():
        medians[name] = {figure: statistics.median(t[figure] for t in turns) for figure in figures}
        medians[name]["cpuMs"] = {
            part: statistics.median(t["cpuMs"][part] for t in turns) for part in turns[0]["cpuMs"]
        }
    return {
        "endpoints": ENDPOINTS,
        "dead": DEAD,
        "bodyBytes": BODY_BYTES,
        "deliveries": options.deliveries,
        "medians": medians,
        "rateToAllWell": ratio("perSecond"),
        "p99ToAllWell": ratio("p99Seconds"),
        "rounds": rows,
    }
