"""How fast one worker delivers webhooks, with ten dead endpoints among a hundred and without."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.harness.debts import Debts, lasting, start_debts
from tests.bench.harness.owed import BODY_BYTES, Endpoint, forget, hanging, owe
from tests.bench.harness.parts import Meter, Running, Servers
from tests.bench.options import Options
from tests.bench.sections.latency import spread

ENDPOINTS = 100
DEAD = 10
ALL_WELL, SOME_DEAD = "allWell", "someDead"
_OWED_TO_DEAD = 200  # each: twice what it takes to fill the worker, all of them together
_HUNG_SECONDS = 3.0
_WARM_UP = 500
# The worker writes down the last deliveries a moment after the receiver has them.
_RECORDED_SECONDS = 0.5


@dataclass(slots=True)
class _Contest:
    """A gateway with its receivers, and what was measured in each turn."""

    debts: Debts
    options: Options
    rows: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {ALL_WELL: [], SOME_DEAD: []}
    )

    async def round(self) -> None:
        """One turn of each, at the same pace."""
        well, dead = self.debts.well, self.debts.others
        pace = await self._turn(ALL_WELL, well, (), 0.0)
        await self._turn(SOME_DEAD, well[:-DEAD], dead, pace)

    async def _turn(
        self, name: str, well: Sequence[Endpoint], dead: Sequence[Endpoint], pace: float
    ) -> float:
        debts = self.debts
        await forget(debts.connection)
        async with debts.gateway.worker() as worker:
            await debts.heard(await debts.owe(well, _WARM_UP))
            if dead:
                await debts.owe(dead, len(dead) * _OWED_TO_DEAD)
                await asyncio.sleep(_HUNG_SECONDS)
            row = await self._backlog(worker, well)
            pace = pace or row["perSecond"] / 2
            row |= {"pacePerSecond": round(pace, 1), **await self._paced(well, pace)}
        self.rows[name].append(row)
        return pace

    async def _backlog(self, worker: Running, well: Sequence[Endpoint]) -> dict[str, Any]:
        debts, count = self.debts, self.options.deliveries
        owed = await owe(debts.connection, well, count)
        meter = Meter(
            {
                "worker": worker.pid,
                "postgres": debts.gateway.servers.postgres.pid,
                "receiver": debts.outside.receiver.pid,
            }
        )
        started_at = time.time()
        debts.wake()
        arrived = await debts.heard(owed)
        await asyncio.sleep(_RECORDED_SECONDS)
        cpu = meter.milliseconds(count)
        ours = round(cpu["worker"] + cpu["postgres"], 3)
        return {
            "perSecond": round(count / (max(arrived) - started_at), 1),
            "cpuMs": cpu | {"ours": ours},
        }

    async def _paced(self, well: Sequence[Endpoint], pace: float) -> dict[str, Any]:
        goes_on = lasting(self.options.paced_seconds)
        waits = spread(await self.debts.waits(await self.debts.paced(well, pace, goes_on)))
        return {"p50Seconds": waits["p50"], "p99Seconds": waits["p99"]}


async def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Medians and ratios; no API runs while it is measured."""
    async with (
        hanging(DEAD) as dead,
        start_debts("delivery", servers, ports=ENDPOINTS, others=dead) as debts,
    ):
        contest = _Contest(debts, options)
        for _ in range(options.rounds):
            await contest.round()
    return _summary(contest.rows, options)


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
