"""Usage: jobs, durations and webhooks per tenant, read from hourly roll-ups.

The transaction that ends a job or a delivery also adds to the roll-ups, so usage never differs from
the history; maintain/check_usage.py verifies that.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TypeVar
from uuid import UUID

from gateway.core.histogram import quantiles
from gateway.errors import BadRequest
from gateway.flows.deps import Deps
from gateway.store.database import Tx
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
    if unknown := [name for name in group_by if name not in GROUPS]:
        raise BadRequest.of("groupBy", f"'{unknown[0]}' is not one of {', '.join(GROUPS)}")
    first, last = _hour("from", since), _hour("to", until)
    if first and last and first >= last:
        raise BadRequest.of("to", "must be at least an hour after from; both are cut to their hour")
    async with deps.db.single() if visible is None else deps.db.of(*visible) as tx:
        span: _Span = (visible, first, last)
        # One column has few values. Groups of several are counted first: summing costs much more.
        many = len(group_by) > 1 and await _is_full(tx, group_by, span, only)
        found = [] if many else await read.read(tx, group_by, *span, limit=_MOST, only=only)
    if many or len(found) > MAX_GROUPS:
        reason = f"makes more than {MAX_GROUPS} groups; take fewer, or less time with from and to"
        raise BadRequest.of("groupBy", reason)
    return await in_turns(turn, _group, found)


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
    codes: dict[str, int] = {}
    for code, jobs in zip(sums.codes, sums.code_jobs, strict=True):
        codes[code] = codes.get(code, 0) + jobs
    return Group(
        by=sums.group,
        jobs=sums.jobs,
        succeeded=sums.succeeded,
        failed=sums.jobs - sums.succeeded,
        failed_by_code=dict(sorted(codes.items())),
        retried=sums.retries,
        submitted=sums.submitted,
        queue_wait=_spread(sums.wait_microseconds, sums.jobs, sums.wait_histogram),
        run=_spread(sums.run_microseconds, sums.submitted, sums.run_histogram),
        end_to_end=_spread(sums.total_microseconds, sums.jobs, sums.total_histogram),
        webhooks_delivered=sums.webhooks_delivered,
        webhooks_failed=sums.webhooks_failed,
    )


def _spread(microseconds: int, count: int, histogram: bytes) -> Spread | None:
    found = quantiles(histogram)
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
