"""The charts of Now: jobs in and out, how long they take, and attempts, with a table of the same numbers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.console.show import charts
from gateway.console.show.charts import Chart, Series
from gateway.console.show.words import count, duration
from gateway.flows.read.throughput import Percentiles, Point, ThroughputReport

_SPANS = {60: "minute", 600: "ten minutes", 3600: "hour"}
_NO_CHANGE = 0.5  # percent


class DrawnChart(NamedTuple):
    """A chart with its title, and what the table beside it has: names of columns, and rows."""

    name: str
    title: str
    chart: Chart
    legend: Sequence[tuple[str, str]]
    columns: Sequence[str]
    rows: Sequence[tuple[Point, Sequence[str]]]


def drawn_charts(report: ThroughputReport) -> list[DrawnChart]:
    """The charts of a window."""
    span = _SPANS[report.step_seconds]
    return [
        _counts(report, "jobs", f"Jobs that ended, per {span}", _JOBS),
        _durations(report, "durations", "End to end, from accept to the end of a job"),
        _counts(report, "attempts", f"Attempts to deliver webhooks, per {span}", _ATTEMPTS),
        _counts(report, "calls", f"Calls of the upstream, per {span}", _CALLS),
    ]


_Count = tuple[str, str, Callable[[Point], int]]
_JOBS: Sequence[_Count] = (
    ("succeeded", "good", lambda point: point.succeeded),
    ("failed", "bad", lambda point: point.failed),
)
_ATTEMPTS: Sequence[_Count] = (
    ("delivered", "good", lambda point: point.delivered),
    ("failed", "bad", lambda point: point.undelivered),
)
_CALLS: Sequence[_Count] = (
    ("answered", "good", lambda point: point.answered),
    ("told to slow down", "needs", lambda point: point.limited),
    ("failed", "bad", lambda point: point.unanswered),
)
_Figure = Callable[[Percentiles], float]
_FIGURES: Sequence[tuple[str, str, _Figure]] = (
    ("p50", "runs", lambda found: found.p50),
    ("p95", "person", lambda found: found.p95),
    ("p99", "needs", lambda found: found.p99),
)
_PARTS: Sequence[tuple[str, Callable[[Point], Percentiles | None]]] = (
    ("queue wait", lambda point: point.wait),
    ("run", lambda point: point.run),
    ("end to end", lambda point: point.total),
    ("upstream answers", lambda point: point.call),
)


def _counts(
    report: ThroughputReport, name: str, title: str, counted: Sequence[_Count]
) -> DrawnChart:
    points = report.points
    series = [Series(word, look, [of(point) for point in points]) for word, look, of in counted]
    chart = charts.stacked(
        [point.at for point in points], series, lambda number: count(int(number))
    )
    more: Sequence[_Count] = _IN if counted is _JOBS else ()
    columns = [*more, *counted]
    rows = [(point, [count(of(point)) for _, _, of in columns]) for point in reversed(points)]
    legend = [(word, look) for word, look, _ in counted]
    return DrawnChart(name, title, chart, legend, [word for word, _, _ in columns], rows)


_IN: Sequence[_Count] = (
    ("accepted", "waits", lambda point: point.accepted),
    ("refused", "bad", lambda point: point.refused),
)


def _durations(report: ThroughputReport, name: str, title: str) -> DrawnChart:
    points = report.points
    series = [
        Series(word, look, [None if point.total is None else of(point.total) for point in points])
        for word, look, of in _FIGURES
    ]
    chart = charts.lines([point.at for point in points], series, duration)
    columns = [f"{part} {word}" for part, _ in _PARTS for word, _, _ in _FIGURES]
    rows = [
        (point, [_figure(part(point), of) for _, part in _PARTS for _, _, of in _FIGURES])
        for point in reversed(points)
    ]
    return DrawnChart(name, title, chart, [one[:2] for one in _FIGURES], columns, rows)


def _figure(found: Percentiles | None, of: _Figure) -> str:
    return "" if found is None else duration(of(found))


def compared(number: int, yesterday: int) -> str:
    """A count beside the one of the same hour yesterday."""
    if not yesterday:
        return "none in this hour yesterday"
    percent = 100 * (number - yesterday) / yesterday
    if abs(percent) < _NO_CHANGE:
        return "as in this hour yesterday"
    return f"{abs(percent):.0f} % {'more' if percent > 0 else 'less'} than yesterday"
