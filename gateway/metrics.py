"""Prometheus metrics. Labels are bounded: never an id, a URL or a tenant."""

from collections.abc import Mapping
from functools import cache
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway import __version__
from gateway.workflow_labels import Add, WorkflowLabels

REGISTRY = CollectorRegistry()

_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SLOW = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"gw_{name}", text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = _FAST) -> Histogram:
    return Histogram(f"gw_{name}", text, labels, buckets=buckets, registry=REGISTRY)


_http = _counter(
    "http_requests",
    "Requests answered. Many with a status of 5xx: look at the logs of this process.",
    "method",
    "route",
    "status",
)
_http_seconds = _histogram(
    "http_request_duration_seconds",
    "Time to answer. Where it grows, look at gw_database_pool_connections first.",
    "route",
)
_accepted = _counter(
    "jobs_accepted",
    "Jobs accepted; workflows that the upstream does not list are `other`.",
    "workflow",
)
_rejected = _counter(
    "jobs_rejected",
    "Jobs refused at the door. QUEUE_FULL: raise a cap, or find out why the queue is long.",
    "reason",
)
_finished = _counter(
    "jobs_finished",
    "Jobs that ended; workflows that the upstream does not list are `other`.",
    "workflow",
    "outcome",
)
_wait = _histogram(
    "job_queue_wait_seconds",
    "Time from accept to the upstream. Where it grows, look at gw_queue_held, then start workers.",
    buckets=_SLOW,
)
_run = _histogram(
    "job_upstream_seconds", "Time at the upstream. Where it grows, ask the upstream.", buckets=_SLOW
)
_whole = _histogram(
    "job_end_to_end_seconds", "Time from accept to the end of a job.", buckets=_SLOW
)
_submits = _counter(
    "upstream_submits",
    "Submits by outcome. Many that are busy or unknown: ask the upstream.",
    "outcome",
)
_submit_seconds = _histogram(
    "upstream_submit_duration_seconds", "Time of a submit until it is recorded."
)
_lookups = _counter(
    "upstream_lookups",
    "Look-ups of submits in doubt. If they grow, connections to the upstream break.",
    "outcome",
)
_lookup_calls = _counter("upstream_lookup_calls", "Upstream calls made by look-ups.")
_polls = _counter("job_polls", "Rounds of polling by result.", "result")
_poll_calls = _counter(
    "upstream_poll_calls",
    "Upstream calls made by polling. GATEWAY_POLL_BUDGET says how many a job may cost.",
)
_attempts = _counter(
    "webhook_attempts",
    "Attempts to deliver webhooks. errors.md says what to do about each error class.",
    "outcome",
    "error_class",
)
_attempt_seconds = _histogram("webhook_attempt_duration_seconds", "Time of one attempt to deliver.")
_webhook_whole = _histogram(
    "webhook_end_to_end_seconds",
    "Time from an event until it is delivered, with the retries.",
    buckets=_SLOW,
)
_sweeps = _counter(
    "sweeps", "Rounds of the sweep by this process; one worker at a time does it.", "result"
)
_rescued = _counter(
    "sweep_rescued",
    "Due rows that no wake-up had come for. Near 0 in normal operation: else look at Redis.",
    "verb",
)
_shares = _histogram(
    "claim_largest_share",
    "Share of the tenant with most jobs in one claim, where several had jobs in it.",
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)
_restored = _counter(
    "database_restored",
    "Times that the database was found to have gone back. Should not move unasked.",
)
_bulk = _counter("bulk_rows", "Rows that bulk operations dealt with, by kind.", "kind")
_expired = _counter(
    "jobs_expired", "Jobs that outlived their deadline. Their timelines tell what they waited for."
)
Gauge("gw_build_info", "Always 1; the version is a label.", ["version"], registry=REGISTRY).labels(
    __version__
).set(1)

workflows = WorkflowLabels()


def observe(work: str, outcome: str, seconds: float, fields: Mapping[str, object]) -> None:
    """Count one finished unit of work."""
    count = _COUNTS.get(work)
    if count is not None:
        count(outcome, seconds, fields)


def _number(fields: Mapping[str, object], name: str) -> float:
    value = fields.get(name, 0)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _tenant(fields: Mapping[str, object]) -> UUID | None:
    value = fields.get("tenant_id")
    return value if isinstance(value, UUID) else None


# `labels` takes a lock and costs more than counting, so each series is looked up once.
@cache
def _series(counter: Counter, *labels: str) -> Counter:
    return counter.labels(*labels)


@cache
def _times(route: str) -> Histogram:
    return _http_seconds.labels(route)


def _add_accepted(workflow: str, count: int) -> None:
    _series(_accepted, workflow).inc(count)


@cache
def _adding_finished(outcome: str) -> Add:
    return lambda workflow, count: _series(_finished, workflow, outcome).inc(count)


def _on_http(outcome: str, seconds: float, fields: Mapping[str, object]) -> None:
    method, route = str(fields.get("method", "")), str(fields.get("route", ""))
    _series(_http, method, route, outcome).inc()
    _times(route).observe(seconds)


def _on_accept(outcome: str, _seconds: float, fields: Mapping[str, object]) -> None:
    if outcome == "accepted":
        workflows.count(_tenant(fields), str(fields.get("workflow", "")), _add_accepted)
    else:
        _series(_rejected, outcome).inc()


def _on_submit(outcome: str, seconds: float, _fields: Mapping[str, object]) -> None:
    _series(_submits, outcome).inc()
    _submit_seconds.observe(seconds)


def _on_lookup(outcome: str, _seconds: float, fields: Mapping[str, object]) -> None:
    _series(_lookups, outcome).inc()
    _lookup_calls.inc(_number(fields, "calls"))


def _on_poll(outcome: str, _seconds: float, fields: Mapping[str, object]) -> None:
    _series(_polls, outcome).inc()
    _poll_calls.inc(_number(fields, "calls"))


def _on_job(outcome: str, seconds: float, fields: Mapping[str, object]) -> None:
    workflows.count(_tenant(fields), str(fields.get("workflow", "")), _adding_finished(outcome))
    _wait.observe(_number(fields, "queue_seconds"))
    _run.observe(_number(fields, "upstream_seconds"))
    _whole.observe(seconds)


def _on_deliver(outcome: str, seconds: float, fields: Mapping[str, object]) -> None:
    _series(_attempts, outcome, str(fields.get("error_class") or "")).inc()
    _attempt_seconds.observe(seconds)
    if outcome == "delivered":
        _webhook_whole.observe(_number(fields, "late_seconds"))


def _on_sweep(outcome: str, _seconds: float, fields: Mapping[str, object]) -> None:
    _series(_sweeps, outcome).inc()
    _expired.inc(_number(fields, "expired"))
    for verb in ("submit", "poll", "deliver"):
        _rescued.labels(verb).inc(_number(fields, verb))


def _on_claim(_outcome: str, _seconds: float, fields: Mapping[str, object]) -> None:
    _shares.observe(_number(fields, "largest_share"))


def _on_restore(_outcome: str, _seconds: float, _fields: Mapping[str, object]) -> None:
    _restored.inc()


def _on_bulk(_outcome: str, _seconds: float, fields: Mapping[str, object]) -> None:
    _bulk.labels(str(fields.get("kind", ""))).inc(_number(fields, "rows"))


_COUNTS = {
    "http": _on_http,
    "accept": _on_accept,
    "submit": _on_submit,
    "lookup": _on_lookup,
    "poll": _on_poll,
    "job": _on_job,
    "deliver": _on_deliver,
    "sweep": _on_sweep,
    "claim": _on_claim,
    "restore": _on_restore,
    "bulk": _on_bulk,
}
