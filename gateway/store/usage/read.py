"""Read the sums of the usage roll-ups, grouped by any of their columns."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.job_search.filter import Arguments
from gateway.store.usage.rollups import HISTOGRAMS, SUMS, TIMES

# The columns that usage may be grouped by.
GROUPS = {
    "tenant": "COALESCE(t.slug, '(deleted)')",
    "hour": "u.hour",
    "day": "u.day",
    "month": "date_trunc('month', u.day, 'UTC')",
    "workflow": "u.workflow",
    "status": "u.status",
    "batch": "u.batch_name",
    "errorCode": "u.error_code",
}
_HOURLY = frozenset({"hour", "batch"})  # not in the daily roll-up


_FAILED = "FILTER (WHERE u.status = 'FAILED' AND u.jobs <> 0)"
_COUNTED = ("submitted", "retries", "webhooks_delivered", "webhooks_failed")
_SUMMED = ", ".join(
    [
        "COALESCE(bigint_sum(u.jobs), 0)",
        "COALESCE(bigint_sum(u.jobs) FILTER (WHERE u.status = 'SUCCEEDED'), 0)",
        f"COALESCE(array_agg(u.error_code) {_FAILED}, '{{}}')",
        f"COALESCE(array_agg(u.jobs) {_FAILED}, '{{}}')",
        *(f"COALESCE(bigint_sum(u.{name}), 0)" for name in (*_COUNTED, *TIMES)),
        *(f"numeric_send(COALESCE(histogram_sum(u.{name}), 0))" for name in HISTOGRAMS),
    ]
)

_OF_HOURS = "hour, date_trunc('day', hour, 'UTC') AS day, batch_name"
_OF_DAYS = "NULL::timestamptz AS hour, day, NULL::text AS batch_name"

# After a repair the sums of a group may be zero.
_NOT_EMPTY = " OR ".join(
    f"bigint_sum(u.{name}) <> 0" for name in ("jobs", "webhooks_delivered", "webhooks_failed")
)


class Sums(NamedTuple):
    """One group of usage; `group` holds the values that it is grouped by, in their order.

    `code_jobs` are the jobs that failed with each of `codes`; a code may occur more than once. Times are sums.
    A histogram is in the binary format of Postgres's numeric.
    """

    group: tuple[object, ...]
    jobs: int
    succeeded: int
    codes: tuple[str, ...]
    code_jobs: tuple[int, ...]
    submitted: int
    retries: int
    webhooks_delivered: int
    webhooks_failed: int
    wait_microseconds: int
    run_microseconds: int
    total_microseconds: int
    wait_histogram: bytes
    run_histogram: bytes
    total_histogram: bytes


class UsageOnly(NamedTuple):
    """Which workflows and statuses are summed; an empty field does not filter."""

    workflows: Sequence[str] = ()
    statuses: Sequence[str] = ()


ALL = UsageOnly()


class UsageSpan(NamedTuple):
    """The hours or days of a roll-up from `since` until `until`, exclusive; None is unbounded."""

    table: str
    start: str
    since: datetime | None
    until: datetime | None


async def read(
    tx: Tx,
    group_by: Sequence[str],
    tenants: Sequence[UUID] | None,
    since: datetime | None,
    until: datetime | None,
    *,
    limit: int,
    only: UsageOnly = ALL,
) -> list[Sums]:
    """Up to `limit` groups, in the order of their values. `group_by` has names of GROUPS; tenants None means all.

    `since` and `until` are starts of hours. Groups by status leave out webhooks about the start of jobs.
    """
    arguments = Arguments([limit])
    source = _source(group_by, (tenants, only), since, until, arguments)
    places = ", ".join(str(place + 1) for place in range(len(group_by)))
    by = f" GROUP BY {places} HAVING {_NOT_EMPTY} ORDER BY {places}" if group_by else ""
    columns = "".join(f"{GROUPS[name]}, " for name in group_by)
    sql = f"SELECT {columns}{_SUMMED} FROM {source}{by} LIMIT $1"
    return [_sums(tuple(row), len(group_by)) for row in await tx.rows(sql, *arguments)]


async def count(
    tx: Tx,
    group_by: Sequence[str],
    tenants: Sequence[UUID] | None,
    since: datetime | None,
    until: datetime | None,
    *,
    limit: int,
    only: UsageOnly = ALL,
) -> int:
    """How many groups `read` would return, up to `limit`; computes no sums."""
    arguments = Arguments([limit])
    source = _source(group_by, (tenants, only), since, until, arguments)
    columns = ", ".join(GROUPS[name] for name in group_by)
    sql = f"SELECT count(*) FROM (SELECT DISTINCT {columns} FROM {source} LIMIT $1) AS g"
    return (await tx.one(sql, *arguments))[0]


def _source(
    group_by: Sequence[str],
    of: tuple[Sequence[UUID] | None, UsageOnly],
    since: datetime | None,
    until: datetime | None,
    arguments: Arguments,
) -> str:
    """The rows `u` of the roll-ups, with their tenant `t` if it is grouped by."""
    whose = [*_whose(of[0], arguments), *_which(of[1], arguments)]
    if "status" in group_by:
        # Only webhooks about the start of jobs are counted under STARTED.
        whose = [*whose, "status <> 'STARTED'"]
    spans = _spans(_HOURLY.intersection(group_by), since, until)
    rows = " UNION ALL ".join(_rows(span, whose, arguments) for span in spans)
    tenant = " LEFT JOIN tenant t ON t.id = u.tenant_id" if "tenant" in group_by else ""
    return f"({rows}) AS u{tenant}"


def _sums(row: tuple[Any, ...], size: int) -> Sums:
    jobs, succeeded, codes, code_jobs, *rest = row[size:]
    return Sums(row[:size], jobs, succeeded, tuple(codes), tuple(code_jobs), *rest)


def _spans(
    hourly: Collection[str], since: datetime | None, until: datetime | None
) -> Iterator[UsageSpan]:
    """Whole days from the daily roll-up, and the hours at both ends from the hourly one."""
    first = since and _midnight(since + timedelta(days=1) - timedelta(microseconds=1))
    last = until and _midnight(until)
    if hourly or (first and last and first >= last):
        yield UsageSpan("usage_hourly", "hour", since, until)
        return
    yield UsageSpan("usage_daily", "day", first, last)
    if since != first:
        yield UsageSpan("usage_hourly", "hour", since, first)
    if until != last:
        yield UsageSpan("usage_hourly", "hour", last, until)


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _whose(tenants: Sequence[UUID] | None, arguments: Arguments) -> list[str]:
    if tenants is None:
        return []
    if len(tenants) == 1:  # with = an index returns the days in order
        return [f"tenant_id = {arguments.add(tenants[0], 'uuid')}"]
    return [f"tenant_id = ANY({arguments.add(list(tenants), 'uuid[]')})"]


def _which(only: UsageOnly, arguments: Arguments) -> list[str]:
    columns = (("workflow", only.workflows), ("status", only.statuses))
    return [
        f"{column} = ANY({arguments.add(list(values), 'text[]')})"
        for column, values in columns
        if values
    ]


def _rows(span: UsageSpan, whose: Sequence[str], arguments: Arguments) -> str:
    more = _OF_HOURS if span.table == "usage_hourly" else _OF_DAYS
    ends = ((">=", span.since), ("<", span.until))
    within = [f"{span.start} {sign} {arguments.add(at, 'timestamptz')}" for sign, at in ends if at]
    return (
        f"SELECT tenant_id, workflow, status, error_code, {', '.join(SUMS)}, {more}"
        f" FROM {span.table} WHERE {' AND '.join([*whose, *within]) or 'TRUE'}"
    )
