"""The tunables of the engine: leases, circuit breaker, back-off, token budget, caps, retention.

All durations are in seconds, where nothing else is said. The settings override some of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

DELIVERY_DELAYS = (
    5.0,
    5 * 60.0,
    30 * 60.0,
    2 * 3600.0,
    5 * 3600.0,
    10 * 3600.0,
    14 * 3600.0,
    20 * 3600.0,
    24 * 3600.0,
)
KEEP_DAYS = {"payloads": 0, "jobs": 0, "attempts": 30, "events": 90}


@dataclass(frozen=True, slots=True)
class Policy:
    """The tunables of the engine."""

    # Short enough that other processes take over the rows of a killed one within 35 s.
    lease: float = 26.0
    # No call begins later than this before its lease ends: the call must end within the lease.
    lease_margin: float = 15.0
    batch: int = 100
    submit_concurrency: int = 100
    deliver_concurrency: int = 100
    # How many webhooks a receiver gets at a time before its first answer.
    window_start: int = 10
    # A claimed webhook that has not been sent by then is released.
    turn_seconds: float = 2.0
    session: float = 10.0
    max_in_flight: int = 1_000
    max_queued: int = 100_000
    max_rate: int = 0  # requests a second; 0 is no cap
    max_endpoints: int = 100
    # Ambiguous submits: the first look, the second look, then the job is sent again.
    lookup_delay: float = 2.0
    lookups: int = 2
    lookup_skew: float = 60.0
    breaker_failures: int = 5
    # Strikes: claims without a recorded outcome. At the first number a row is quarantined, at the
    # second it is given up.
    suspicious: int = 2
    strikes: int = 5
    # For how long a quarantined row runs alone: others wait so long for it, and it for them.
    quiet: float = 1.0
    # Tokens that each job in flight earns: upstream calls beyond its submit.
    poll_budget: float = 0.15
    # Calls a second that the upstream allows one credential; 0 is no cap.
    upstream_rate: float = 0.0
    poll_min: float = 0.25
    # The same while the token budget is not used up.
    poll_least: float = 0.03
    poll_max: float = 30.0
    list_from: int = 5
    # The wait after the nth time that the upstream did not know a job; after the last it is lost.
    absence_delays: tuple[float, ...] = (5.0, 20.0, 60.0)
    delivery_delays: tuple[float, ...] = DELIVERY_DELAYS
    retry_after_max: float = 10 * 3600.0
    slow_down: float = 60.0
    deadline: float = 24 * 3600.0
    # Rows a second that one bulk operation deals with.
    bulk_rate: float = 1_000.0
    # How many bulk operations of one tenant may be under way.
    bulk_running: int = 20
    # How many days things are kept; 0 is for good.
    keep_days: Mapping[str, int] = field(default_factory=lambda: dict(KEEP_DAYS))
    # How many credentials a process remembers between polling rounds.
    remembered_credentials: int = 10_000
    # How many seconds an outcome waits for others to be written in the same transaction.
    submit_linger: float = 0.03
    deliver_linger: float = 0.01
    # Rows in one transaction: of pruning, of erasing a tenant (of each kind), of a bulk operation.
    prune_batch: int = 500
    erase_batch: int = 1_000
    bulk_batch: int = 100
    # A month of partitioned jobs goes as a whole when its last day is past the retention. If nobody drops it within
    # so many days more, its jobs are pruned by row.
    month_grace_days: int = 35
    # Batches that a round of pruning looks at behind the first row that cannot go yet.
    prune_ahead: int = 20
    # How many events a follower of the feed is given at a time.
    feed_batch: int = 100
    # How many jobs, and about how many bytes, a page of an export has.
    export_page: int = 1_000
    export_bytes: int = 1_000_000
