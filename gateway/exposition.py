"""The page that Prometheus scrapes: counters of this process, its state, and the gateway's state.

While Postgres is away, metrics that need it are left out, so that no stale number is shown.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, Metric, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from gateway import metrics
from gateway.flows.deps import Deps
from gateway.flows.health.overview import Overview
from gateway.store.database import PoolUse
from gateway.store.work.queues import REASONS

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SAME = " The same from every API process: aggregate with max, not sum."
_STATES = ("ok", "stale", "replaced", "stopped")

ProcessCollector(registry=metrics.REGISTRY)


class ReplicaUse(NamedTuple):
    """Whether reads go to the replica, and by how many seconds it is behind, None while unknown."""

    is_fit: bool
    lag: float | None


class ProcessState(NamedTuple):
    """The state of one process."""

    database_up: bool
    redis_connected: bool
    pool: PoolUse
    clock_ahead: float
    feed_lag: float
    replica: ReplicaUse | None = None


class _Gauges(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    @override
    def collect(self) -> Iterable[Metric]:
        return self._families


def process_state(deps: Deps, *, database_up: bool) -> ProcessState:
    """Collect the state of this process; `database_up` says whether Postgres answered recently."""
    ahead = -deps.clock.offset.total_seconds()
    use, lag = deps.db.use, deps.vitals.feed_lag
    one = deps.replica
    replica = None if one is None else ReplicaUse(one.is_fit, one.lag)
    return ProcessState(database_up, deps.queue.connected, use, ahead, lag, replica)


def exposition(process: ProcessState, overview: Overview | None = None) -> bytes:
    """Render the page in Prometheus's text format; only API processes pass an overview."""
    families = [
        *_of_process(process),
        *(_of_replica(process.replica) if process.replica else ()),
        *(_of_gateway(process, overview) if overview else ()),
    ]
    return generate_latest(metrics.REGISTRY) + generate_latest(_Gauges(families))


def _gauge(
    name: str, text: str, *samples: tuple[tuple[str, ...], float], labels: str = ""
) -> Metric:
    family = GaugeMetricFamily(f"gw_{name}", text, labels=labels.split())
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _of_process(process: ProcessState) -> Iterator[Metric]:
    pool = process.pool
    yield _gauge(
        "database_up",
        "1 while Postgres answers this process. At 0 look at /health/ready, which tells the cause.",
        ((), float(process.database_up)),
    )
    yield _gauge(
        "redis_connected",
        "1 while wake-ups pass through Redis. At 0 all goes on, a few seconds later.",
        ((), float(process.redis_connected)),
    )
    yield _gauge(
        "database_pool_size",
        "Connections to Postgres that this process may open: GATEWAY_DATABASE_POOL.",
        ((), pool.size),
    )
    yield _gauge(
        "database_pool_connections",
        "Connections to Postgres in use, and requests that wait for one. If some wait for long, "
        "start more processes, or raise GATEWAY_DATABASE_POOL.",
        (("in_use",), pool.in_use),
        (("waiting",), pool.waiting),
        labels="state",
    )
    yield _gauge(
        "clock_ahead_seconds",
        "How far the clock of this host is ahead of Postgres's, which the gateway goes by. Beyond a "
        "second, set up NTP on this host.",
        ((), process.clock_ahead),
    )


def _of_replica(replica: ReplicaUse) -> Iterator[Metric]:
    yield _gauge(
        "replica_in_use",
        "1 while this process reads lists, exports and usage from the read replica. At 0 the log tells "
        "the cause; the primary serves them.",
        ((), float(replica.is_fit)),
    )
    if replica.lag is not None:
        yield _gauge(
            "replica_lag_seconds",
            "By how many seconds the read replica is behind at most. It grows while either server does not "
            "answer. Beyond GATEWAY_READ_MAX_LAG_SECONDS the primary serves reads.",
            ((), replica.lag),
        )


def _of_gateway(process: ProcessState, overview: Overview) -> Iterator[Metric]:
    yield _gauge(
        "feed_lag_seconds",
        "For how long the event feed has been held up by a transaction that does not end, of anybody "
        "on the Postgres server. Beyond 30, look for it in pg_stat_activity." + _SAME,
        ((), process.feed_lag),
    )
    yield _gauge(
        "jobs_current",
        "Open jobs." + _SAME,
        *(((state,), jobs) for state, jobs in overview.states.items()),
        labels="state",
    )
    yield from _of_queues(overview)
    yield from _of_processes(overview)
    yield _gauge(
        "tenants_waiting",
        "Tenants with jobs to submit, also those that may not go." + _SAME,
        ((), overview.tenants_waiting),
    )
    yield _gauge(
        "endpoints_failing",
        "Endpoints that only fail, at least so far on their way to be disabled; 100: that were."
        + _SAME,
        *(((str(percent),), count) for percent, count in overview.failing.items()),
        labels="percent",
    )


def _of_queues(overview: Overview) -> Iterator[Metric]:
    free = {line.queue: line for line in overview.lines if line.reason is None}
    held = {(line.queue, line.reason): line.rows for line in overview.lines}
    yield _gauge(
        "queue_due",
        "Rows that may go now. Of deliveries, look-ups and polls up to some thousands are counted."
        + _SAME,
        *(((queue,), free[queue].rows if queue in free else 0) for queue in REASONS),
        labels="queue",
    )
    yield _gauge(
        "queue_oldest_seconds",
        "For how long the oldest row has been due that may go now. If it grows, no worker is at it, "
        "or there are too few: look at gw_workers_seen." + _SAME,
        *(((queue,), free[queue].seconds if queue in free else 0.0) for queue in REASONS),
        labels="queue",
    )
    yield _gauge(
        "queue_held",
        "Rows that may not go now, and why. docs/metrics.md tells what to do about each reason."
        + _SAME,
        *(
            ((queue, reason), held.get((queue, reason), 0))
            for queue, reasons in REASONS.items()
            for reason in reasons
        ),
        labels="queue reason",
    )


def _of_processes(overview: Overview) -> Iterator[Metric]:
    replaced = overview.replaced
    for kind, name in (("worker", "workers_seen"), ("api", "api_processes_seen")):
        seen = [
            "replaced" if one.id in replaced else one.state
            for one in overview.processes
            if one.kind == kind
        ]
        yield _gauge(
            name,
            f"Processes of the kind {kind} by their heartbeats: stale are those silent for 12 s, "
            "replaced those of them that a later process replaces. Without any that is ok nothing goes on."
            + _SAME,
            *(((state,), seen.count(state)) for state in _STATES),
            labels="state",
        )
    ages = {
        "worker_heartbeat_age_seconds": (
            "Seconds since the newest heartbeat of any worker. Beyond 15, start workers.",
            min((one.silent for one in overview.processes if one.kind == "worker"), default=None),
        ),
        "sweep_age_seconds": (
            "Seconds since the last sweep. Beyond 30, workers are away or stuck.",
            overview.since_sweep,
        ),
        "prune_age_seconds": (
            "Seconds since a tenant was last pruned, which each is every hour.",
            overview.since_prune,
        ),
    }
    for name, (text, seconds) in ages.items():
        yield _gauge(name, text + _SAME, *([] if seconds is None else [((), seconds)]))
