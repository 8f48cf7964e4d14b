"""Sums over the roll-ups of usage, by any of what they tell apart."""

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
_HOURLY = frozenset({"hour", "batch"})  # what the roll-up of days does not know


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

# A difference that was put right may leave nothing of a group.
_NOT_EMPTY = " OR ".join(
    f"bigint_sum(u.{name}) <> 0" for name in ("jobs", "webhooks_delivered", "webhooks_failed")
)


class Sums(NamedTuple):
    """One group of usage; `group` holds the values that it is grouped by, in their order.

    `code_jobs` failed with `codes`, which may repeat. Times are sums, histograms are as Postgres
    sends numbers.
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


class UsageSpan(NamedTuple):
    """A part of a roll-up: its hours or days from..until, without the last; None has no end."""

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
) -> list[Sums]:
    """Groups by names of GROUPS, in their order, at most `limit`; tenants None means all.

    `since` and `until` are starts of hours. By status, webhooks about the start of jobs are left out.
    """
    arguments = Arguments([limit])
    source = _source(group_by, tenants, since, until, arguments)
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
) -> int:
    """How many groups `read` would find, up to the limit, without their sums."""
    arguments = Arguments([limit])
    source = _source(group_by, tenants, since, until, arguments)
    columns = ", ".join(GROUPS[name] for name in group_by)
    sql = f"SELECT count(*) FROM (SELECT DISTINCT {columns} FROM {source} LIMIT $1) AS g"
    return (await tx.one(sql, *arguments))[0]


def _source(
    group_by: Sequence[str],
    tenants: Sequence[UUID] | None,
    since: datetime | None,
    until: datetime | None,
    arguments: Arguments,
) -> str:
    """The rows of the roll-ups, `u`, with their tenant, `t`, where that is asked for."""
    whose = _whose(tenants, arguments)
    if "status" in group_by:
        # No job ends with it: what is kept under it are webhooks alone.
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
    """Whole days from the roll-up of days, what is left at the ends from that of hours."""
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
    if len(tenants) == 1:  # whose days an index has in the order in which they are often asked for
        return [f"tenant_id = {arguments.add(tenants[0], 'uuid')}"]
    return [f"tenant_id = ANY({arguments.add(list(tenants), 'uuid[]')})"]


def _rows(span: UsageSpan, whose: Sequence[str], arguments: Arguments) -> str:
    more = _OF_HOURS if span.table == "usage_hourly" else _OF_DAYS
    ends = ((">=", span.since), ("<", span.until))
    within = [f"{span.start} {sign} {arguments.add(at, 'timestamptz')}" for sign, at in ends if at]
    return (
        f"SELECT tenant_id, workflow, status, error_code, {', '.join(SUMS)}, {more}"
        f" FROM {span.table} WHERE {' AND '.join([*whose, *within]) or 'TRUE'}"
    )
