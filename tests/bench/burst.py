"""One busy tenant: jobs that come at once, beside a plain arq task for each."""

import statistics
from collections.abc import Sequence
from typing import Any

from gateway.embedded import PartFailedError
from tests.bench.options import FIRST_BURST, Options
from tests.bench.parts import Servers
from tests.bench.rush import Result, Rush, rush_gateway, rush_plain

PLAIN = "plainArq"
_FIRST_JOBS = 300
_BURSTS = {"burst5000": 5_000, "burst10000": 10_000}
_COMPARED = ("p50", "p99")


class _Section:
    """The scenarios of one run, and what became of them."""

    def __init__(self, servers: Servers, options: Options) -> None:
        self._servers = servers
        self._options = options
        self.found: dict[str, Any] = {"failures": []}

    async def run(self, name: str) -> None:
        """One scenario; what fails is noted, so that the others are measured as well."""
        try:
            if name == FIRST_BURST:
                await self._contest()
            else:
                await self._burst(name)
        except (PartFailedError, RuntimeError) as error:
            self.found["failures"].append(f"{name}: {error}")

    async def _contest(self) -> None:
        """Bursts of a workflow that the gateway has never seen, in turns with the rival's."""
        jobs = self._options.share_of(_FIRST_JOBS)
        ours: list[dict[str, Any]] = []
        plain: list[dict[str, Any]] = []
        for turn in range(self._options.rounds):
            rush, rival = Rush(FIRST_BURST, jobs, turn=turn), Rush(PLAIN, jobs, turn=turn)
            ours.append(self._noted(await rush_gateway(self._servers, rush)))
            plain.append(self._noted(await rush_plain(self._servers, rival)))
        ratios = {part: _ratio(ours, plain, part) for part in _COMPARED}
        self.found[FIRST_BURST] = {**middle(ours), "toPlain": ratios, "rounds": ours}
        self.found[PLAIN] = {**middle(plain), "rounds": plain}

    async def _burst(self, name: str) -> None:
        rows: list[dict[str, Any]] = []
        for turn in range(self._options.bursts):
            rush = Rush(name, self._options.share_of(_BURSTS[name]), turn=turn)
            rows.append(self._noted(await rush_gateway(self._servers, rush)))
        self.found[name] = {**middle(rows), "rounds": rows}

    def _noted(self, result: Result) -> dict[str, Any]:
        self.found["failures"] += result.losses
        return result.figures


async def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """The figures of every scenario, and under `failures` what was lost."""
    section = _Section(servers, options)
    for name in options.scenarios:
        await section.run(name)
    return section.found


def _ratio(ours: Sequence[dict[str, Any]], plain: Sequence[dict[str, Any]], part: str) -> float:
    pairs = zip(ours, plain, strict=True)
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
