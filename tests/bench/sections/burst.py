"""One busy tenant with one endpoint: bursts, drains, a backlog, and a steady rate over sweeps."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from gateway.embedded import PartFailedError
from tests.bench.harness.parts import Servers
from tests.bench.options import BACKLOG, DRAINS, FIRST_BURST, SWEEPS, Options
from tests.bench.sections.backlog import measure_backlog
from tests.bench.sections.drain import drain
from tests.bench.sections.rush import Result, Rush, rush_gateway, rush_plain

PLAIN = "plainArq"
_BURSTS = {FIRST_BURST: 300, "burst5000": 5_000, "burst10000": 10_000}
_SWEEP_JOBS, _SWEEP_RATE = 9_000, 300.0
# At the upstream at once, all tenants together.
_DRAIN_IN_FLIGHT = 5_000
_COMPARED = ("p50", "p99")


class _Section:
    """The scenarios of one run, a row for each round, and what was lost in them."""

    def __init__(self, servers: Servers, options: Options) -> None:
        self._servers = servers
        self._options = options
        self.rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.failures: list[str] = []

    async def run(self, name: str) -> None:
        """All rounds of one; a failure is noted, so that the others are measured as well."""
        first = name == FIRST_BURST
        try:
            for turn in range(self._options.rounds if first else self._options.bursts):
                self.rows[name].append(await self._round(name, turn))
                if first:
                    rival = Rush(PLAIN, self._options.share_of(_BURSTS[name]), turn=turn)
                    self.rows[PLAIN].append(self._noted(await rush_plain(self._servers, rival)))
        except (PartFailedError, RuntimeError) as error:
            self.failures.append(f"{name}: {error}")

    async def _round(self, name: str, turn: int) -> dict[str, Any]:
        servers, options = self._servers, self._options
        if name == BACKLOG:
            return await measure_backlog(servers, options, turn)
        if tenants := DRAINS.get(name):
            limit = _DRAIN_IN_FLIGHT // tenants
            return await drain(
                name, servers, options.jobs, turn=turn, tenants=tenants, in_flight=limit
            )
        return self._noted(await rush_gateway(servers, self._rush(name, turn)))

    def _rush(self, name: str, turn: int) -> Rush:
        if name == SWEEPS:
            jobs = self._options.share_of(_SWEEP_JOBS)
            return Rush(name, jobs, rate=_SWEEP_RATE, workers=("worker", "worker2"), turn=turn)
        return Rush(name, self._options.share_of(_BURSTS[name]), turn=turn)

    def _noted(self, result: Result) -> dict[str, Any]:
        self.failures += result.losses
        return result.figures


async def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Medians over the rounds of every scenario, and under `failures` what was lost."""
    section = _Section(servers, options)
    for name in options.scenarios:
        await section.run(name)
    rows = section.rows
    found: dict[str, Any] = {name: {**middle(rows[name]), "rounds": rows[name]} for name in rows}
    if PLAIN in found:
        found[FIRST_BURST]["toPlain"] = {
            part: _ratio(rows[FIRST_BURST], rows[PLAIN], part) for part in _COMPARED
        }
    return {**found, "failures": section.failures}


def _ratio(ours: Sequence[dict[str, Any]], plain: Sequence[dict[str, Any]], part: str) -> float:
    pairs = zip(ours, plain, strict=False)  # the last turn of the rival may have failed
    ratios = [a["addedSeconds"][part] / max(b["addedSeconds"][part], 1e-4) for a, b in pairs]
    return round(statistics.median(ratios), 3)


def middle(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure over rounds; what a round lacks is 0 in it."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        if any(isinstance(row.get(name), dict) for row in rows):
            found[name] = middle([row.get(name, {}) for row in rows])
        else:
            found[name] = statistics.median(row.get(name, 0) for row in rows)
    return found
