"""Responses for operators: the status of the gateway and its queues."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from msgspec import Meta

from gateway import __version__
from gateway.core.model import JobState
from gateway.flows.health.overview import Overview
from gateway.flows.health.readiness import needed_revision
from gateway.flows.health.status import GatewayStatus
from gateway.flows.read.throughput import Percentiles, Point, ThroughputReport
from gateway.store.processes import SeenProcess
from gateway.store.work.queues import REASONS, QueueLine
from gateway.web.schemas.responses import Id, Out, Time, maybe_stamp, one_of, stamp

StateText = Annotated[str, Meta(extra_json_schema=one_of(JobState))]


class ProcessOut(Out):
    """A process by its last heartbeat; it is stale after 12 seconds without one."""

    id: Id
    kind: Literal["api", "worker"]
    host: str
    pid: int
    version: str
    state: Literal["ok", "stale", "stopped"]
    started_at: Time
    last_heartbeat_at: Time
    last_did: str | None
    last_did_at: Time | None
    clock_ahead_seconds: float
    redis: bool

    @classmethod
    def of(cls, one: SeenProcess) -> Self:
        """The response for a process."""
        return cls(
            str(one.id),
            "worker" if one.kind == "worker" else "api",
            one.host,
            one.pid,
            one.version,
            "ok" if one.state == "ok" else "stale" if one.state == "stale" else "stopped",
            stamp(one.started_at),
            stamp(one.seen_at),
            one.did,
            maybe_stamp(one.did_at),
            round(one.clock_ahead, 3),
            one.redis,
        )


class WrongOut(Out):
    """A problem: a stable code, and what to do in words."""

    code: str
    message: str


class PostgresOut(Out):
    """`ok`, or why Postgres cannot be used; and the oldest schema that this version works with."""

    status: str
    schema_needed: str


class RedisOut(Out):
    """Whether Redis can be reached."""

    status: Literal["ok", "away"]


class JobsOut(Out):
    """Open jobs in one state."""

    state: StateText
    jobs: int


class LineOut(Out):
    """One queue: rows that are due, how long the oldest has been due, and rows that are held back.

    `held` counts rows by the reason that holds them back; `deferred` is the sum.
    """

    queue: str
    due: int
    oldest_seconds: float
    deferred: int
    held: dict[str, int]


class WorkersOut(Out):
    """How many workers are in which state."""

    ok: int
    stale: int
    stopped: int
    last_heartbeat_at: Time | None


class QueueOut(Out):
    """All work that is not done yet, and the workers for it."""

    jobs: list[JobsOut]
    queues: list[LineOut]
    tenants_waiting: int
    workers: WorkersOut

    @classmethod
    def of(cls, overview: Overview) -> Self:
        """The response for the queues."""
        return cls(
            [JobsOut(state, jobs) for state, jobs in overview.states.items()],
            [_line(queue, overview.lines) for queue in REASONS],
            overview.tenants_waiting,
            _workers(overview.processes),
        )


class StatusOut(Out):
    """The gateway as a whole: `down` while no work is done, `degraded` while something is wrong.

    Counts from Postgres are null while it is away. Seconds are null for what never happened.
    """

    status: Literal["ok", "degraded", "down"]
    problems: list[WrongOut]
    version: str
    postgres: PostgresOut
    redis: RedisOut
    processes: list[ProcessOut] | None
    queue: QueueOut | None
    feed_lag_seconds: float
    last_sweep_seconds: float | None
    last_prune_seconds: float | None

    @classmethod
    def of(cls, status: GatewayStatus) -> Self:
        """The response for the status."""
        overview = status.overview
        words: Mapping[str, Literal["ok", "degraded", "down"]] = {
            "ok": "ok",
            "degraded": "degraded",
            "down": "down",
        }
        return cls(
            words[status.word],
            [WrongOut(one.code, one.message) for one in status.wrong],
            __version__,
            PostgresOut(status.database, needed_revision()),
            RedisOut("ok" if status.redis else "away"),
            overview and [ProcessOut.of(one) for one in overview.processes],
            overview and QueueOut.of(overview),
            round(status.feed_lag, 1),
            overview and _rounded(overview.since_sweep),
            overview and _rounded(overview.since_prune),
        )


def _line(queue: str, lines: Sequence[QueueLine]) -> LineOut:
    mine = [line for line in lines if line.queue == queue]
    held = {line.reason: line.rows for line in mine if line.reason is not None}
    free = next((line for line in mine if line.reason is None), None)
    due, seconds = (free.rows, free.seconds) if free else (0, 0.0)
    return LineOut(queue, due, round(seconds, 1), sum(held.values()), held)


def _workers(processes: Sequence[SeenProcess]) -> WorkersOut:
    workers = [one for one in processes if one.kind == "worker"]
    states = [one.state for one in workers]
    last = max((one.seen_at for one in workers), default=None)
    return WorkersOut(
        states.count("ok"), states.count("stale"), states.count("stopped"), maybe_stamp(last)
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


class PercentilesOut(Out):
    """Percentiles of durations, in seconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, found: Percentiles | None) -> Self | None:
        """The response for percentiles; None where nothing was measured."""
        return None if found is None else cls(*found)


class PointOut(Out):
    """What all processes did in one span of time."""

    at: Time
    accepted: int
    refused: int
    succeeded: int
    failed: int
    webhooks_delivered: int
    attempts_failed: int
    queue_wait_seconds: PercentilesOut | None
    run_seconds: PercentilesOut | None
    end_to_end_seconds: PercentilesOut | None
    attempt_seconds: PercentilesOut | None
    calls_answered: int
    calls_limited: int
    calls_failed: int
    call_seconds: PercentilesOut | None

    @classmethod
    def of(cls, point: Point) -> Self:
        """The response for a point."""
        return cls(
            stamp(point.at),
            point.accepted,
            point.refused,
            point.succeeded,
            point.failed,
            point.delivered,
            point.undelivered,
            PercentilesOut.of(point.wait),
            PercentilesOut.of(point.run),
            PercentilesOut.of(point.total),
            PercentilesOut.of(point.attempt),
            point.answered,
            point.limited,
            point.unanswered,
            PercentilesOut.of(point.call),
        )


class HourOut(Out):
    """The counts of one hour."""

    accepted: int
    succeeded: int
    failed: int


class ThroughputOut(Out):
    """The throughput of a window, oldest point first, and the last hour beside the same hour yesterday."""

    window: Literal["1h", "24h", "7d"]
    step_seconds: int
    last_hour: HourOut
    same_hour_yesterday: HourOut
    points: Sequence[PointOut]

    @classmethod
    def of(cls, report: ThroughputReport) -> Self:
        """The response for a report."""
        return cls(
            report.window,
            report.step_seconds,
            HourOut(*report.totals[:3]),
            HourOut(*report.totals[3:6]),
            [PointOut.of(point) for point in report.points],
        )
