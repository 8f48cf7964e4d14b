"""When to try again: submits, polls, deliveries. Durations are in seconds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

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
    submit_concurrency: int = 100
    deliver_concurrency: int = 100
    # How many webhooks a receiver is sent at a time before it has answered.
    window_start: int = 10
    # A claimed webhook that has had no turn by then is given back.
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
    # Claims without a recorded outcome after which a row is handled alone, and given up.
    suspicious: int = 2
    strikes: int = 5
    # How long such a row is waited for, before and after it is begun, before others go on beside it.
    quiet: float = 1.0
    # Upstream calls for each job beyond its submit, where many can share them.
    poll_budget: float = 0.15
    # Calls a second that the upstream allows one credential; 0 is no cap.
    upstream_rate: float = 0.0
    poll_min: float = 0.25
    # The same while the budget has calls left.
    poll_least: float = 0.03
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
    # Batches that a round of pruning looks at behind the first row that cannot go yet.
    prune_ahead: int = 20
    # How many events a follower of the feed is given at a time.
    feed_batch: int = 100
    # How many jobs, and about how many bytes, a page of an export has.
    export_page: int = 1_000
    export_bytes: int = 1_000_000


@dataclass(frozen=True, slots=True)
class InFlight:
    """The jobs of one workflow at the upstream: their ages in seconds, whether any waits to start.

    `expected` is the age of the oldest that is not overdue.
    """

    workflow: str
    youngest: float
    oldest: float
    expected: float | None = None
    unstarted: bool = True


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the jobs of each workflow take: a moving average, the shortest and longest of late.

    `credit` is how many calls of polling ended jobs have paid for and that were not made; negative
    where jobs that are still there have to pay for calls that were.
    """

    typical: Mapping[str, float] = field(default_factory=dict[str, float])
    shortest: Mapping[str, float] = field(default_factory=dict[str, float])
    longest: Mapping[str, float] = field(default_factory=dict[str, float])
    credit: float = 0.0


MAX_WORKFLOWS = 64
# Jobs that run for longer, in seconds, are asked about for their start.
LONG_JOB = 5.0
_WEIGHT = 0.1
_MOST_CREDIT = 100.0
_LONGEST_REST = 40.0
# The part of their duration in which the last jobs of a batch are expected.
_TAIL = 0.1
# By how much each credential that is polled beside makes the shortest wait longer, in seconds.
_SHARE = 0.05
# What one job alone needs, whatever the budget is: its end is noticed an eighth of its duration late,
# or within 0.15 of its age where nobody knows how long such jobs take.
_ALONE = 8.0
_ALONE_UNKNOWN = 0.15
# Jobs of an unknown workflow are asked about every so many seconds at first, while their age allows it.
_UNKNOWN_STEP = 0.15
# A job of an unknown workflow may be hidden from the list once it is that old.
_UNKNOWN_OVERDUE = 10.0


def learn(pace: Pace, durations: Iterable[tuple[str, float]]) -> Pace:
    """Take finished jobs, as (workflow, seconds from submit to end), into account.

    What it took to learn of a workflow for the first time is nobody's debt.
    """
    credit = pace.credit
    typical, shortest, longest = dict(pace.typical), dict(pace.shortest), dict(pace.longest)
    for workflow, seconds in durations:
        if workflow not in typical:
            credit = max(credit, 0.0)
        known = typical.pop(workflow, seconds)
        typical[workflow] = known + _WEIGHT * (seconds - known)
        low, high = shortest.pop(workflow, seconds), longest.pop(workflow, seconds)
        shortest[workflow] = min(seconds, low + _WEIGHT * (known - low))
        longest[workflow] = max(seconds, high + _WEIGHT * (known - high))
    while len(typical) > MAX_WORKFLOWS:
        oldest = next(iter(typical))
        for known_of in (typical, shortest, longest):
            known_of.pop(oldest, None)
    return Pace(typical, shortest, longest, credit)


def pay(pace: Pace, policy: Policy, *, calls: int, ended: int, left: int) -> Pace:
    """Account for a round of polling: its calls, the jobs that ended in it, and those that are left.

    What one job alone needs beyond the budget is nobody's debt.
    """
    credit = pace.credit + policy.poll_budget * ended - calls
    credit = min(max(credit, -policy.poll_budget * left), _MOST_CREDIT)
    return replace(pace, credit=credit)


def tokens(pace: Pace, jobs: int, policy: Policy) -> float:
    """How many calls may be made now for so many jobs at the upstream, within the budget."""
    return pace.credit + policy.poll_budget * jobs


def next_poll(
    groups: Sequence[InFlight], jobs: int, pace: Pace, policy: Policy, *, beside: int = 0
) -> float:
    """How long to wait until the upstream is asked again about these jobs.

    Jobs of a known workflow are not asked about before they can be done, and then as often as the
    budget allows; those of an unknown one ever more rarely, for half of it. One job alone is asked
    about as often as it needs. Until then jobs are asked about now and then for their start, where
    it is awaited. With many credentials `beside` this one, rounds are rarer: each takes time of the
    process.
    """
    left = tokens(pace, jobs, policy)
    half = 0.75 * policy.poll_budget * jobs if left > 0 else 0.0
    waits = [
        _wait(group, age, pace, left)
        if group.workflow in pace.typical
        else max(age / max(1 / _ALONE_UNKNOWN, half), _UNKNOWN_STEP)
        for group in groups
        for age in (group.youngest, group.expected, group.oldest)
        if age is not None
    ]
    waits += [max(deep_interval(pace), 0.15 * g.youngest) for g in groups if awaits_start(g, pace)]
    least = policy.poll_min
    if left >= 1:
        least = min(max(_SHARE * beside, policy.poll_least), policy.poll_min)
    return min(max(min(waits, default=policy.poll_max), least), policy.poll_max)


def _wait(group: InFlight, age: float, pace: Pace, left: float) -> float:
    """The wait until a job can have ended, and then so that the calls that are left last until the
    youngest one should have; never more than what one job alone needs.
    """
    typical = pace.typical[group.workflow]
    step = max(typical, age) / _ALONE
    if left >= 1:
        spread = max(_longest(group.workflow, pace) - group.youngest, _TAIL * typical)
        step = min(step, spread / left)
    return max(step, 0.9 * pace.shortest[group.workflow] - age)


def _longest(workflow: str, pace: Pace) -> float:
    typical = pace.typical[workflow]
    return max(pace.longest.get(workflow, 1.5 * typical), typical)


def awaits_start(group: InFlight, pace: Pace) -> bool:
    """Whether the start of jobs is worth a question: it is where they run for long."""
    return group.unstarted and pace.typical.get(group.workflow, group.oldest) > LONG_JOB


def overdue_after(workflow: str, pace: Pace) -> float:
    """The age from which on the end of such a job should have been seen."""
    if workflow not in pace.typical:
        return _UNKNOWN_OVERDUE
    return 0.5 + 1.1 * _longest(workflow, pace)


def straggles_after(workflow: str, pace: Pace) -> float:
    """The age from which on such a job is asked about by itself, whatever the budget says."""
    return max(_UNKNOWN_OVERDUE, 3.0 * pace.typical.get(workflow, 0.0))


def deep_interval(pace: Pace) -> float:
    """How often a list is searched for overdue jobs, or asked for starts, without any budget left."""
    return max(5.0, max(pace.typical.values(), default=0.0) / 12.0)


def status_delay(age: float, policy: Policy) -> float:
    """How long after a status call the same job may be asked about again.

    A little less than until the next round that is made for it, which would else pass it over.
    """
    return min(max(0.12 * age, policy.poll_min / 2), 2 * policy.poll_max)


def pause(failures: int, retry_after: float | None, jitter: float) -> float:
    """How long a credential rests after its nth failure in a row: 0.5 s doubling to 40 s.

    So what is in doubt is known within a minute after the upstream is well. Its Retry-After is
    honoured from 0.1 s to 10 minutes.
    """
    if retry_after is not None:
        return min(max(retry_after, 0.1), 600.0)
    return min(0.5 * 2.0 ** min(failures, 7), _LONGEST_REST) * (1.0 + 0.2 * jitter)


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
