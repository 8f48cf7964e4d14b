"""When to poll the jobs in flight: as often as a token budget allows. Pure.

Each job in flight earns `poll_budget` calls (tokens), and each call to the upstream spends one. Jobs
are polled when they can be done, and then as often as tokens last. All durations are in seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core.policy import Policy


@dataclass(frozen=True, slots=True)
class InFlight:
    """The jobs of one workflow at the upstream: their ages in seconds, and whether any has not started.

    `expected` is the age of the oldest that is not overdue.
    """

    workflow: str
    youngest: float
    oldest: float
    expected: float | None = None
    unstarted: bool = True


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the jobs of each workflow take: a moving average, and the recent shortest and longest.

    `credit` is the balance of the token budget: tokens that ended jobs earned and did not spend. It is
    negative while jobs in flight still have to earn what was spent on them.
    """

    typical: Mapping[str, float] = field(default_factory=dict[str, float])
    shortest: Mapping[str, float] = field(default_factory=dict[str, float])
    longest: Mapping[str, float] = field(default_factory=dict[str, float])
    credit: float = 0.0


MAX_WORKFLOWS = 64
# The start of jobs that run longer than this, in seconds, is polled for.
LONG_JOB = 5.0
_WEIGHT = 0.1
_MOST_CREDIT = 100.0
# The last jobs of a batch are expected within this part of their duration.
_TAIL = 0.1
# Each other polled credential lengthens the shortest wait by this, in seconds.
_SHARE = 0.05
# What a single job gets whatever the budget is: its end is noticed an eighth of its duration late,
# or within 0.15 of its age where the duration of its workflow is unknown.
_ALONE = 8.0
_ALONE_UNKNOWN = 0.15
# Jobs of an unknown workflow are polled at most every so many seconds at first.
_UNKNOWN_STEP = 0.15
# From this age on a job of an unknown workflow may be missing from the list.
_UNKNOWN_OVERDUE = 10.0


def learn(pace: Pace, durations: Iterable[tuple[str, float]]) -> Pace:
    """Update the averages with finished jobs, given as (workflow, seconds from submit to end).

    The first end of a workflow cancels a negative balance: nobody could know when to poll.
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
    """Settle the token budget after a round: `calls` spent, jobs that `ended`, and jobs that are `left`.

    The balance stays between what the jobs in flight can still earn and 100 tokens.
    """
    credit = pace.credit + policy.poll_budget * ended - calls
    credit = min(max(credit, -policy.poll_budget * left), _MOST_CREDIT)
    return replace(pace, credit=credit)


def tokens(pace: Pace, jobs: int, policy: Policy) -> float:
    """The tokens (upstream calls) that are left now, with so many jobs in flight."""
    return pace.credit + policy.poll_budget * jobs


def next_poll(
    groups: Sequence[InFlight], jobs: int, pace: Pace, policy: Policy, *, beside: int = 0
) -> float:
    """Seconds until these jobs are polled again, between `poll_least` and `poll_max`.

    Jobs of a known workflow are not polled before they can be done, and then as often as the tokens
    allow. Jobs of an unknown workflow are polled at growing intervals, with half of the budget. A
    single job is polled as often as it needs. The start of long jobs is polled for now and then. With
    many credentials `beside` this one rounds are rarer, as each takes time of the process.
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
    """The wait until a job can have ended; then the tokens that are left are spread until the youngest
    one should have ended, with no longer steps than a single job has.
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
    """Whether the start of these jobs is worth a call: only where they run for long."""
    return group.unstarted and pace.typical.get(group.workflow, group.oldest) > LONG_JOB


def overdue_after(workflow: str, pace: Pace) -> float:
    """The age in seconds by which the end of such a job should have been seen."""
    if workflow not in pace.typical:
        return _UNKNOWN_OVERDUE
    return 0.5 + 1.1 * _longest(workflow, pace)


def straggles_after(workflow: str, pace: Pace) -> float:
    """The age in seconds from which on such a job is polled by itself, whatever the budget says."""
    return max(_UNKNOWN_OVERDUE, 3.0 * pace.typical.get(workflow, 0.0))


def deep_interval(pace: Pace) -> float:
    """Seconds between searches of a list for overdue or started jobs while no tokens are left."""
    return max(5.0, max(pace.typical.values(), default=0.0) / 12.0)


def status_delay(age: float, policy: Policy) -> float:
    """Seconds after a status call until the same job may be polled again.

    A little less than until the round that is due for it, which would otherwise skip it.
    """
    return min(max(0.12 * age, policy.poll_min / 2), 2 * policy.poll_max)
