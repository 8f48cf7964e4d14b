"""When to try again: submits, polls, deliveries. Durations are in seconds."""

from collections.abc import Iterable, Mapping, Sequence
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

    # Short enough that what a killed process left is taken over within 35 s, with all the waiting.
    lease: float = 26.0
    # A call is not begun later than this before the end of its lease: it must end within it.
    lease_margin: float = 15.0
    batch: int = 100
    quantum: int = 25
    submit_concurrency: int = 100
    deliver_concurrency: int = 100
    # How many webhooks a receiver is sent at a time before it has answered.
    window_start: int = 5
    # A claimed webhook that has had no turn by then is given back.
    turn_seconds: float = 2.0
    session: float = 10.0
    max_in_flight: int = 1_000
    max_queued: int = 100_000
    max_rate: int = 0  # requests a second; 0 is no cap
    # Ambiguous submits: the first look, the second look, then the job is sent again.
    lookup_delay: float = 2.0
    lookups: int = 2
    lookup_skew: float = 60.0
    breaker_failures: int = 5
    # Claims without a recorded outcome after which a row is handled alone, and given up.
    suspicious: int = 2
    strikes: int = 5
    # How long such a row is waited for, before and after it is begun, before others go on beside it.
    quiet: float = 1.0
    poll_min: float = 0.25
    poll_max: float = 30.0
    list_from: int = 5
    # After the nth time that an unfinished job could not be had; as many times it is asked about.
    absence_delays: tuple[float, ...] = (5.0, 20.0, 60.0)
    delivery_delays: tuple[float, ...] = DELIVERY_DELAYS
    retry_after_max: float = 10 * 3600.0
    slow_down: float = 60.0
    deadline: float = 24 * 3600.0
    # Rows a second that one bulk operation deals with.
    bulk_rate: float = 1_000.0
    # How many days things are kept; 0 is for good.
    keep_days: Mapping[str, int] = field(default_factory=lambda: dict(KEEP_DAYS))


@dataclass(frozen=True, slots=True)
class InFlight:
    """The jobs of one workflow at the upstream: how many, their ages, whether any waits to start."""

    workflow: str
    jobs: int
    youngest: float
    oldest: float
    unstarted: bool = True


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the jobs of each workflow take: a moving average and the shortest seen lately."""

    typical: Mapping[str, float] = field(default_factory=dict[str, float])
    shortest: Mapping[str, float] = field(default_factory=dict[str, float])


MAX_WORKFLOWS = 64
_LONG = 5.0
_WEIGHT = 0.1


def learn(pace: Pace, durations: Iterable[tuple[str, float]]) -> Pace:
    """Take finished jobs, as (workflow, seconds from submit to end), into account."""
    typical, shortest = dict(pace.typical), dict(pace.shortest)
    for workflow, seconds in durations:
        known = typical.pop(workflow, seconds)
        typical[workflow] = known + _WEIGHT * (seconds - known)
        low = shortest.pop(workflow, seconds)
        shortest[workflow] = min(seconds, low + _WEIGHT * (known - low))
    while len(typical) > MAX_WORKFLOWS:
        oldest = next(iter(typical))
        del typical[oldest], shortest[oldest]
    return Pace(typical, shortest)


def next_poll(groups: Sequence[InFlight], pace: Pace, policy: Policy) -> float:
    """How long to wait until the upstream is asked again about these jobs.

    Jobs of a known workflow are not asked about before they can be done, and then so often that
    the wait adds an eighth of their duration, or less when one list call serves many. Until then
    they are asked about now and then for their start, where it is awaited.
    """
    jobs = sum(group.jobs for group in groups)
    ages = [(g.workflow, age) for g in groups for age in (g.youngest, g.oldest)]
    waits = [_wait(workflow, age, pace, jobs) for workflow, age in ages]
    waits += [max(deep_interval(pace), 0.15 * g.youngest) for g in groups if awaits_start(g, pace)]
    return min(max(min(waits, default=policy.poll_max), policy.poll_min), policy.poll_max)


def _wait(workflow: str, age: float, pace: Pace, jobs: int) -> float:
    typical = pace.typical.get(workflow)
    if typical is None:
        return 0.15 * age
    step = max(typical, age) / max(8.0, 0.08 * jobs)
    return max(step, 0.9 * pace.shortest[workflow] - age)


def awaits_start(group: InFlight, pace: Pace) -> bool:
    """Whether the start of jobs is worth a question: it is where they run for long."""
    return group.unstarted and pace.typical.get(group.workflow, group.oldest) > _LONG


def is_overdue(workflow: str, age: float, pace: Pace) -> bool:
    """Whether the first pages of a list should have shown the end of such a job by now."""
    return age > 1.0 + 1.5 * pace.typical.get(workflow, 0.0)


def is_straggler(workflow: str, age: float, pace: Pace) -> bool:
    """Whether such a job is asked about by itself, however many others are late."""
    return age > max(10.0, 3.0 * pace.typical.get(workflow, 0.0))


def deep_interval(pace: Pace) -> float:
    """How often a list is walked to its full depth while jobs are overdue, or asked for starts."""
    return max(5.0, max(pace.typical.values(), default=0.0) / 12.0)


def status_delay(age: float, policy: Policy) -> float:
    """How long after a status call the same job may be asked about again.

    A little less than until the next round that is made for it, which would else pass it over.
    """
    return min(max(0.12 * age, policy.poll_min / 2), 2 * policy.poll_max)


def pause(failures: int, retry_after: float | None, jitter: float) -> float:
    """How long a credential rests after its nth failure in a row: 0.5 s doubling to 60 s.

    An upstream's Retry-After is honoured from 0.1 s to 10 minutes.
    """
    if retry_after is not None:
        return min(max(retry_after, 0.1), 600.0)
    return min(0.5 * 2.0 ** min(failures, 7), 60.0) * (1.0 + 0.2 * jitter)


def absence_delay(seen: int, policy: Policy) -> float | None:
    """How long until a job that could not be had `seen` times is asked about; None: given up."""
    return policy.absence_delays[seen - 1] if seen <= len(policy.absence_delays) else None


def redelivery(
    attempts: int,
    policy: Policy,
    *,
    delays: Sequence[float] | None = None,
    retry_after: float | None,
    jitter: float,
) -> float | None:
    """How long until the next attempt of a delivery; None when there is none.

    `delays` take the place of the policy's. Jitter is only added, at most a tenth; Retry-After only
    pushes later.
    """
    schedule = policy.delivery_delays if delays is None else delays
    if attempts > len(schedule):
        return None
    delay = schedule[attempts - 1] * (1.0 + 0.1 * jitter)
    return max(delay, min(retry_after or 0.0, policy.retry_after_max))
