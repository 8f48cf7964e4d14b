"""The figures of a run beside the ones to reach."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tests.bench.sections.accept import FLOOR, OURS, REPLAY
from tests.bench.sections.delivery import ALL_WELL, SOME_DEAD
from tests.bench.sections.history_data import ROWS
from tests.bench.sections.isolation import NOISY, QUIET


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure to reach: at most `value`, or at least."""

    value: float
    at_least: bool = False

    def is_met(self, figure: float) -> bool:
        """Whether the figure reaches it."""
        return figure >= self.value if self.at_least else figure <= self.value

    @override
    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.value:g}"


_PAGE_MS = 10.0 if ROWS <= 1_000_000 else 20.0
_SCREEN_MS = 50.0 if ROWS <= 1_000_000 else 100.0


def _large_burst(name: str, called: str) -> dict[str, tuple[str, str, Goal]]:
    place = f"burst.{name}"
    return {
        f"{place}.addedSeconds.p99": (f"{called}, added, p99", "s", Goal(1.5)),
        f"{place}.addedSeconds.most": (f"{called}, added, slowest", "s", Goal(3.0)),
        f"{place}.upstreamCallsPerJob": (f"{called}, upstream calls", "per job", Goal(1.1)),
        f"{place}.notEnded": (f"{called}, not ended", "jobs", Goal(0.0)),
        f"{place}.inDoubt": (f"{called}, in doubt at the end", "jobs", Goal(0.0)),
    }


def _busy_drain(name: str, called: str, rate: float) -> dict[str, tuple[str, str, Goal]]:
    place = f"burst.{name}"
    return {
        f"{place}.jobsPerSecond": (called, "jobs/s", Goal(rate, at_least=True)),
        f"{place}.cpuMsPerJob.worker": (f"{called}, worker's CPU", "ms per job", Goal(0.8)),
    }


# Where a figure is in the report, how it is called, its unit, and what it should be.
GOALS: Mapping[str, tuple[str, str, Goal]] = {
    "accept.rateToFloor": ("accepts, rate to the floor's", "x", Goal(1.0, at_least=True)),
    "accept.cpuToFloor": ("accepts, CPU to the floor's", "x", Goal(0.65)),
    "accept.replayCpuToFresh": ("replays, CPU to fresh accepts'", "x", Goal(1.0)),
    "drain.jobsPerSecond": ("drain by one worker", "jobs/s", Goal(500, at_least=True)),
    "drain.upstreamCallsPerJob": ("upstream calls", "per job", Goal(1.1)),
    "drain.valkeyCommandsPerJob": ("Valkey commands", "per job", Goal(1.0)),
    "drain.transactionsPerJob.all": ("Postgres transactions", "per job", Goal(4.0)),
    "latency.addedSeconds.p50": ("added latency, p50", "s", Goal(0.3)),
    "latency.addedSeconds.p99": ("added latency, p99", "s", Goal(0.8)),
    "latency.acceptToSubmitSeconds.p50": ("accept to submit, p50", "s", Goal(0.06)),
    "idle.gatewayCpuPercent": ("idle, API and worker", "% of a core", Goal(3.0)),
    "delivery.medians.allWell.perSecond": (
        "delivery by one worker",
        "webhooks/s",
        Goal(1_000, at_least=True),
    ),
    "delivery.medians.allWell.cpuMs.ours": ("delivery, CPU all counted", "ms each", Goal(0.9)),
    "delivery.rateToAllWell": (
        "ten dead of 100, rate of the others",
        "x",
        Goal(0.9, at_least=True),
    ),
    "delivery.p99ToAllWell": ("ten dead of 100, p99 of the others", "x", Goal(2.0)),
    "isolation.noisyToQuiet.acceptToEndSeconds.p99": (
        "noisy tenant, others' p99 to end",
        "x",
        Goal(2.0),
    ),
    "isolation.noisyToQuiet.eventToWebhookSeconds.p99": (
        "noisy tenant, others' p99 to webhook",
        "x",
        Goal(2.0),
    ),
    "burst.burst300.addedSeconds.p50": ("300 at once, added, p50", "s", Goal(0.25)),
    "burst.burst300.addedSeconds.p99": ("300 at once, added, p99", "s", Goal(0.5)),
    "burst.burst300.toPlain.p50": ("300 at once, p50 to plain arq's", "x", Goal(1.0)),
    "burst.burst300.toPlain.p99": ("300 at once, p99 to plain arq's", "x", Goal(1.0)),
    "burst.burst300.upstreamCallsPerJob": ("300 at once, upstream calls", "per job", Goal(1.2)),
    **_large_burst("burst5000", "5,000 at once"),
    **_large_burst("burst10000", "10,000 at once"),
    **_busy_drain("drainOne", "drain of one tenant", 600),
    **_busy_drain("drainTen", "drain of ten tenants", 700),
    "burst.backlog.perSecond": (
        "backlog for one receiver",
        "webhooks/s",
        Goal(1_200, at_least=True),
    ),
    "burst.backlog.othersP99ToAlone": ("backlog, others' p99 to theirs alone", "x", Goal(2.0)),
    "burst.sweeps.lookups": ("six sweeps at 300 jobs/s", "look-ups", Goal(0.0)),
    "burst.sweeps.submitsPerJob": ("six sweeps, submits", "per job", Goal(1.0)),
    "history.slowestP99Ms.tenant-0000": (
        "slowest page of the largest tenant, p99",
        "ms",
        Goal(_PAGE_MS),
    ),
    "history.slowestP99Ms.all tenants": ("slowest page of all tenants, p99", "ms", Goal(_PAGE_MS)),
    "history.deepToFirst": ("page at 95 % to the first", "x", Goal(2.0)),
    "history.usage.p50Ms": ("usage of 30 days, p50", "ms", Goal(15.0)),
    "history.usage.toRaw": ("usage to sums over the jobs", "x", Goal(0.2)),
    "history.export.ndjson.jobsPerSecond": (
        "export as ndjson",
        "jobs/s",
        Goal(30_000, at_least=True),
    ),
    "history.export.csv.jobsPerSecond": ("export as csv", "jobs/s", Goal(30_000, at_least=True)),
    "history.export.ndjson.memoryGrowthMb": ("export, growth of memory", "MB", Goal(20.0)),
    "pages.slowest.p95Ms": ("slowest page of the console, p95", "ms", Goal(_SCREEN_MS)),
    "pages.assets.js": ("scripts of the console, gzipped", "kB", Goal(60.0)),
    "pages.assets.css": ("styles of the console, gzipped", "kB", Goal(20.0)),
}
_NAMES = {OURS: "accept", FLOOR: "floor", REPLAY: "replay"}
_TURNS = {ALL_WELL: "all well", SOME_DEAD: "ten dead", QUIET: "alone", NOISY: "with noise"}
_BURST_SECONDS = {
    "addedSeconds": "added",
    "othersSeconds": "the nine beside it",
    "aloneSeconds": "the nine alone",
}
_BURST_FIGURES = {
    "secondsToLastWebhook": ("last accept to last webhook", "s"),
    "upstreamCallsPerJob": ("upstream calls", "per job"),
    "lookups": ("look-ups of submits in doubt", "look-ups"),
    "acceptsPerSecond": ("accepts", "per s"),
    "notEnded": ("not ended", "jobs"),
    "inDoubt": ("in doubt at the end", "jobs"),
}
_SEEN = {"acceptToEndSeconds": "to end", "eventToWebhookSeconds": "to webhook"}


def judge(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every figure of the report that has a goal, and whether it reaches it."""
    return [
        {"figure": place, "value": value, "goal": str(goal), "ok": goal.is_met(value)}
        for place, (_, _, goal) in GOALS.items()
        if (value := _find(report, place)) is not None
    ]


def table(report: Mapping[str, Any]) -> str:
    """All figures for people."""
    lines = [f"{'figure':<42} {'value':>10} {'unit':<12} {'goal':<9}"]
    lines += [_line(*row) for row in _plain(report)]
    for one in report["figures"]:
        name, unit, _ = GOALS[one["figure"]]
        lines.append(_line(name, one["value"], unit, one["goal"], "ok" if one["ok"] else "MISS"))
    return "\n".join(lines)


def _line(name: str, value: float, unit: str, goal: str = "", mark: str = "") -> str:
    return f"{name:<42} {value:>10,.3f} {unit:<12} {goal:<9} {mark}".rstrip()


def _find(report: Mapping[str, Any], place: str) -> float | None:
    found: Any = report
    for name in place.split("."):
        if name not in found:
            return None
        found = found[name]
    return found


def _plain(report: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    for name, row in report.get("accept", {}).get("medians", {}).items():
        called = _NAMES[name]
        yield f"{called}, rate", row["ratePerSecond"], "per s"
        yield f"{called}, CPU of the server", row["serverCpuMs"], "ms each"
        yield f"{called}, CPU of Postgres", row["postgresCpuMs"], "ms each"
        yield f"{called}, p99 of 64 callers", row["p99Seconds"], "s"
    if drain := report.get("drain"):
        for part, used in drain["acceptCpuMsPerJob"].items():
            yield f"accepting these jobs, CPU of {part}", used, "ms per job"
        for part, used in drain["cpuMsPerJob"].items():
            yield f"drain, CPU of {part}", used, "ms per job"
    if latency := report.get("latency"):
        yield "latency, load", latency["ratePerSecond"], "jobs/s"
        yield "accept to submit, p99", latency["acceptToSubmitSeconds"]["p99"], "s"
    for part, used in report.get("idle", {}).get("cpuPercent", {}).items():
        yield f"idle, {part}", used, "% of a core"
    yield from _contests(report)
    yield from _bursts(report.get("burst", {}))
    yield from _bursts(report.get("scale", {}))
    yield from _history(report.get("history", {}))
    yield from _console(report.get("pages", {}))


def _bursts(report: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    for name, row in report.items():
        for figure, (what, unit) in _BURST_FIGURES.items():
            if figure in row:
                yield f"{name}, {what}", row[figure], unit
        for figure, what in _BURST_SECONDS.items():
            for part, seconds in row.get(figure, {}).items():
                yield f"{name}, {what}, {part}", seconds, "s"
        for kind, count in row.get("upstreamCalls", {}).items():
            yield f"{name}, calls of {kind}", count, "calls"
        for part, used in {**row.get("cpuMsPerJob", {}), **row.get("cpuMs", {})}.items():
            yield f"{name}, CPU of {part}", used, "ms each"


def _history(report: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    for who, pages in report.get("pages", {}).items():
        for name, row in pages.items():
            yield f"{who}, {name}, p50", row["p50Ms"], "ms"
            yield f"{who}, {name}, p99", row["p99Ms"], "ms"
            yield f"{who}, {name}, CPU", row["cpuMs"], "ms"
    if usage := report.get("usage"):
        yield "usage of 30 days, groups", usage["groups"], ""
        yield "usage of 30 days, p99", usage["p99Ms"], "ms"
        yield "usage of 720 hours, p50", usage["byHourP50Ms"], "ms"
        yield "sums over the jobs, p50", usage["rawP50Ms"], "ms"
    for name, row in report.get("export", {}).items():
        yield f"export as {name}, CPU of the API", row["cpuUsPerJob"], "us per job"
        yield f"export as {name}, memory", row["memoryMb"], "MB"


def _console(report: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    for who, pages in report.get("pages", {}).items():
        for name, row in pages.items():
            for share in ("p50", "p95", "p99"):
                yield f"{who}, {name}, {share}", row[f"{share}Ms"], "ms"
            yield f"{who}, {name}, CPU", row["cpuMs"], "ms"


def _contests(report: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    for name, row in report.get("delivery", {}).get("medians", {}).items():
        called = _TURNS[name]
        yield f"delivery, {called}", row["perSecond"], "webhooks/s"
        for part, used in row["cpuMs"].items():
            if part != "ours":
                yield f"delivery, {called}, CPU of {part}", used, "ms each"
        yield f"event to receipt, {called}, load", row["pacePerSecond"], "webhooks/s"
        yield f"event to receipt, {called}, p50", row["p50Seconds"], "s"
        yield f"event to receipt, {called}, p99", row["p99Seconds"], "s"
    for name, row in report.get("isolation", {}).get("medians", {}).items():
        for figure, what in _SEEN.items():
            for part, seconds in row[figure].items():
                yield f"nine tenants, {_TURNS[name]}, {what}, {part}", seconds, "s"
