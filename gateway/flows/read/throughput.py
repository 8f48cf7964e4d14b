"""Throughput of the gateway over the last hour, day or week, for charts.

The heartbeats of all processes add to the sums every five seconds, so the newest span is still growing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from gateway.core.histogram import quantiles
from gateway.flows.deps import Deps
from gateway.store import throughput
from gateway.store.throughput import ThroughputSpan, ThroughputTotals

Window = Literal["1h", "24h", "7d"]
# The length of a span in minutes, and how many of them the window has.
WINDOWS: Mapping[Window, tuple[int, int]] = {"1h": (1, 60), "24h": (10, 144), "7d": (60, 168)}


class Percentiles(NamedTuple):
    """Seconds; at most 2 % of themselves off."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Point:
    """What all processes did in one span; Percentiles are None where nothing was measured.

    Calls of the upstream were `answered`, `limited` (429), or `unanswered`: a 5xx, or no whole answer.
    """

    at: datetime
    accepted: int = 0
    refused: int = 0
    succeeded: int = 0
    failed: int = 0
    delivered: int = 0
    undelivered: int = 0
    wait: Percentiles | None = None
    run: Percentiles | None = None
    total: Percentiles | None = None
    attempt: Percentiles | None = None
    answered: int = 0
    limited: int = 0
    unanswered: int = 0
    call: Percentiles | None = None


@dataclass(frozen=True, slots=True)
class ThroughputReport:
    """A window as points without gaps, oldest first, and the counts of the last hour beside yesterday's."""

    window: Window
    step_seconds: int
    points: Sequence[Point]
    totals: ThroughputTotals

    @property
    def call(self) -> Percentiles | None:
        """How long the upstream took to answer in the last hour."""
        return _percentiles(self.totals.call_histogram)


async def read_throughput(deps: Deps, window: Window) -> ThroughputReport:
    """The throughput of a window."""
    step, spans = WINDOWS[window]
    async with deps.db.single() as tx:
        found = await throughput.read(tx, step, spans)
        totals = await throughput.totals(tx)
    known = {span.at: span for span in found}
    length = timedelta(minutes=step)
    newest = max([_start(deps.clock.now(), length), *known])
    starts = [newest - length * place for place in reversed(range(spans))]
    points = [_point(known[at]) if at in known else Point(at) for at in starts]
    return ThroughputReport(window, step * 60, points, totals)


def _start(at: datetime, length: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (at - epoch) // length * length


def _point(span: ThroughputSpan) -> Point:
    return Point(
        span.at,
        span.accepted,
        span.refused,
        span.succeeded,
        span.failed,
        span.delivered,
        span.undelivered,
        *(_percentiles(one) for one in span[-5:-1]),
        answered=span.calls_answered,
        limited=span.calls_limited,
        unanswered=span.calls_failed,
        call=_percentiles(span.call_histogram),
    )


def _percentiles(histogram: bytes) -> Percentiles | None:
    found = quantiles(histogram)
    return Percentiles(*found) if found else None
