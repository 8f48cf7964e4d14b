"""Usage: jobs, durations and webhooks per tenant, read from hourly roll-ups.

The transaction that ends a job or a delivery also adds to the roll-ups, so usage never differs from
the history; maintain/check_usage.py verifies that.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TypeVar
from uuid import UUID

from gateway.core.histogram import quantiles
from gateway.errors import BadRequest
from gateway.flows.deps import Deps
from gateway.store.database import Database, Tx
from gateway.store.usage import read, rollups
from gateway.store.usage.read import ALL, GROUPS, Sums, UsageOnly
from gateway.store.webhooks.attempts import Recorded

F = TypeVar("F")
T = TypeVar("T")

_Span = tuple[Sequence[UUID] | None, datetime | None, datetime | None]

MAX_GROUPS = 10_000
# Reading the sums of a group takes about 0.1 ms.
_TURN = 50
_MOST = MAX_GROUPS + 1
_YEARS = range(1970, 2200)


class Spread(NamedTuple):
    """Durations in seconds; the quantiles are at most RELATIVE_ERROR of themselves off."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One group of usage; `by` has the values of its columns. A Spread is None without any duration."""

    by: tuple[object, ...]
    jobs: int
    succeeded: int
    failed: int
    failed_by_code: dict[str, int]
    retried: int
    submitted: int
    queue_wait: Spread | None
    run: Spread | None
    end_to_end: Spread | None
    webhooks_delivered: int
    webhooks_failed: int


async def read_usage(
    deps: Deps,
    group_by: Sequence[str],
    visible: Sequence[UUID] | None,
    since: datetime | None,
    until: datetime | None,
    *,
    turn: asyncio.Lock,
    only: UsageOnly = ALL,
) -> list[Group]:
    """Usage of tenants, None meaning all, for hours from..until; both are cut to their hour.

    Thousands of groups are converted in short turns, so other requests are not held up.
    Raises BadRequest that names the parameter which is wrong.
    """
    found = await read_sums(deps, group_by, (visible, since, until), only)
    return await in_turns(turn, _group, found)


async def read_sums(
    deps: Deps, group_by: Sequence[str], span: _Span, only: UsageOnly
) -> Sequence[Sums]:
    """The sums of each group as they are stored. Raises BadRequest that names the parameter which is wrong."""
    visible, since, until = span
    if unknown := [name for name in group_by if name not in GROUPS]:
        raise BadRequest.of("groupBy", f"'{unknown[0]}' is not one of {', '.join(GROUPS)}")
    first, last = _hour("from", since), _hour("to", until)
    if first and last and first >= last:
        raise BadRequest.of("to", "must be at least an hour after from; both are cut to their hour")
    found = await _read(deps, group_by, (visible, first, last), only)
    if found is None or len(found) > MAX_GROUPS:
        reason = f"makes more than {MAX_GROUPS} groups; take fewer, or less time with from and to"
        raise BadRequest.of("groupBy", reason)
    return found


async def _read(
    deps: Deps, group_by: Sequence[str], span: _Span, only: UsageOnly
) -> Sequence[Sums] | None:
    """The sums of each group; None if there are clearly too many groups."""
    visible, _, last = span

    async def ask(database: Database) -> Sequence[Sums] | None:
        async with database.single() if visible is None else database.of(*visible) as tx:
            # One column has few values. Groups of several are counted first: summing costs much more.
            if len(group_by) > 1 and await _is_full(tx, group_by, span, only):
                return None
            return await read.read(tx, group_by, *span, limit=_MOST, only=only)

    # Hours that have passed are complete in a report, as an invoice needs them.
    return await deps.history(last and min(last, deps.clock.now())).read(ask)


async def _is_full(tx: Tx, group_by: Sequence[str], span: _Span, only: UsageOnly) -> bool:
    return await read.count(tx, group_by, *span, limit=_MOST, only=only) == _MOST


async def in_turns(turn: asyncio.Lock, write: Callable[[F], T], found: Sequence[F]) -> list[T]:
    """Convert rows, a few in each turn of the event loop, for one request at a time."""
    made: list[T] = []
    async with turn:
        for place in range(0, len(found), _TURN):
            made += map(write, found[place : place + _TURN])
            await asyncio.sleep(0)
    return made


def _hour(name: str, at: datetime | None) -> datetime | None:
    if at is None:
        return None
    if at.year not in _YEARS:
        raise BadRequest.of(name, f"must be in the years {_YEARS[0]} to {_YEARS[-1]}")
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


# Past hours do not change, so a repeated query finds nearly all groups here.
@lru_cache(maxsize=4096)
def _group(sums: Sums) -> Group:
    return group_of(sums.group, (sums,))


def group_of(by: tuple[object, ...], parts: Sequence[Sums]) -> Group:
    """The group of some sums that are added up."""
    codes = Counter[str]()
    for one in parts:
        for code, jobs in zip(one.codes, one.code_jobs, strict=True):
            codes[code] += jobs
    jobs = sum([one.jobs for one in parts])
    submitted = sum([one.submitted for one in parts])
    succeeded = sum([one.succeeded for one in parts])
    return Group(
        by=by,
        jobs=jobs,
        succeeded=succeeded,
        failed=jobs - succeeded,
        failed_by_code=dict(sorted(codes.items())),
        retried=sum([one.retries for one in parts]),
        submitted=submitted,
        queue_wait=_spread([(one.wait_microseconds, one.wait_histogram) for one in parts], jobs),
        run=_spread([(one.run_microseconds, one.run_histogram) for one in parts], submitted),
        end_to_end=_spread([(one.total_microseconds, one.total_histogram) for one in parts], jobs),
        webhooks_delivered=sum([one.webhooks_delivered for one in parts]),
        webhooks_failed=sum([one.webhooks_failed for one in parts]),
    )


def _spread(parts: Sequence[tuple[int, bytes]], count: int) -> Spread | None:
    found = quantiles(*(histogram for _, histogram in parts))
    microseconds = sum([took for took, _ in parts])
    return Spread(microseconds / count / 1e6, *found) if found and count else None


async def count_webhooks(tx: Tx, done: Sequence[Recorded], moved: set[UUID]) -> None:
    """Add the deliveries that ended, delivered or exhausted, to the usage of their jobs."""
    ended = [
        (one.delivery_id, one.attempt.number)
        for one in done
        if one.delivery_id in moved and one.state != "pending"
    ]
    if ended:
        await rollups.add_webhooks(tx, ended)
