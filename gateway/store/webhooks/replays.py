"""Replays: deliveries that are sent again, and events that an endpoint was never sent.

Used by `resend` and by bulk operations. The statements built from a filter have their arguments by number,
since their number varies; the others are declared below.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import DeliveryState
from gateway.store.database import Tx
from gateway.store.delivery_search.filter import DeliveryFilter, conditions_of
from gateway.store.delivery_search.search import next_rows
from gateway.store.statement import Statement

# A delivery that has ended begins its schedule again; its earlier attempts stay counted and visible. A
# pending one is only brought forward: the early attempt does not count on the schedule, so all remaining
# attempts still follow.
_AGAIN = """state = 'pending', resent_at = now(), completed_at = NULL,
  next_at = CASE WHEN d.state = 'pending' THEN LEAST(d.next_at, {now}) ELSE {now} END,
  strikes = CASE WHEN d.state = 'pending' THEN d.strikes ELSE 0 END,
  spared = CASE WHEN d.state <> 'pending' THEN d.attempts
    WHEN d.next_at > now() THEN LEAST(d.spared + 1, d.attempts) ELSE d.spared END"""

# A delivery under a lease is recorded by the worker that sends it.
_NOT_UNDER_WAY = "NOT (d.state = 'pending' AND d.lease_token IS NOT NULL AND d.next_at > now())"

# A sample is sent once, by a call of its own. Events of jobs are never samples, so they are not looked up.
_NO_SAMPLE = """(d.job_id IS NOT NULL
  OR (SELECT e.is_sample FROM event e WHERE e.id = d.event_id) IS NOT TRUE)"""

_RESEND = Statement(
    f"""
UPDATE delivery d SET {_AGAIN.format(now="now()")}
WHERE d.tenant_id = :tenant_id AND d.id = :delivery_id AND {_NOT_UNDER_WAY}"""
)

_UNPAUSE = Statement(
    """
UPDATE endpoint p SET paused_until = NULL FROM delivery d
WHERE d.tenant_id = :tenant_id AND d.id = :delivery_id AND p.id = d.endpoint_id
  AND p.paused_until > now()"""
)

# A delivery whose endpoint is disabled or deleted is left as it is.
_RECEIVED = """NOT EXISTS (SELECT 1 FROM endpoint p WHERE p.id = d.endpoint_id
  AND (p.disabled_at IS NOT NULL OR p.deleted_at IS NOT NULL))"""

# The deliveries of a batch are due in their order, all of them before now.
_IN_TURN = "now() - interval '1 second' + held.place * interval '1 microsecond'"

_RESEND_OF_JOBS = Statement(
    f"""
WITH held AS MATERIALIZED (SELECT d.id FROM delivery d
  WHERE d.tenant_id = :tenant_id AND d.job_id = ANY(:job_ids::uuid[]) AND {_NOT_UNDER_WAY} AND {_RECEIVED}
  ORDER BY d.id FOR UPDATE OF d)
UPDATE delivery d SET {_AGAIN.format(now=_IN_TURN)}
FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM held) AS held WHERE d.id = held.id"""
)

# How many rows a batch reads of each state, type or receiver of the filter.
_MOST_READ = 1_000

# Events that an endpoint is subscribed to and has no delivery of, also from before it existed.
_MISSING = """
FROM event e JOIN endpoint p ON p.id = :endpoint_id AND p.tenant_id = e.tenant_id
WHERE e.tenant_id = :tenant_id AND e.created_at >= :since
  AND (:before::timestamptz IS NULL OR e.created_at < :before)
  AND p.deleted_at IS NULL
  AND NOT e.is_sample AND e.endpoint_id IS DISTINCT FROM p.id
  AND (cardinality(p.events) = 0 OR e.type = ANY(p.events))
  AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.event_id = e.id AND d.endpoint_id = p.id)"""

_COUNT_MISSING = Statement(
    f"""
SELECT count(*) AS count,
  (SELECT e.id {_MISSING} ORDER BY e.created_at DESC, e.id DESC LIMIT 1) AS newest {_MISSING}"""
)

# A cursor that was pruned meanwhile is no bound. Events before it have a delivery by now, so they are not
# found again.
_NEXT_MISSING = Statement(
    f"""
SELECT e.id {_MISSING}
  AND e.created_at >= COALESCE((SELECT created_at FROM event WHERE id = :after), :since)
  AND e.created_at <= COALESCE((SELECT created_at FROM event WHERE id = :until), now())
ORDER BY e.created_at, e.id LIMIT :limit"""
)

_ADD_MISSING = Statement(
    """
INSERT INTO delivery (id, tenant_id, event_id, job_id, endpoint_id, lane, type, resent_at)
SELECT u.id, e.tenant_id, e.id, e.job_id, :endpoint_id, :endpoint_id, e.type, now()
FROM unnest(:ids::uuid[], :events::uuid[]) AS u(id, event_id) JOIN event e ON e.id = u.event_id
WHERE e.tenant_id = :tenant_id
ON CONFLICT (event_id, endpoint_id) DO NOTHING"""
)


class Counted(NamedTuple):
    """How many may be sent again, and the newest of them; of deliveries also how many of each state.

    `disabled` counts further deliveries, whose endpoint is disabled.
    """

    total: int
    until: UUID | None
    states: Mapping[str, int] = MappingProxyType({})
    disabled: int = 0


class Batch(NamedTuple):
    """How many deliveries were handled, the last one that was read, and whether that was all."""

    rows: int
    last: UUID
    finished: bool


async def resend(tx: Tx, tenant_id: UUID, delivery_id: UUID) -> None:
    """Have a delivery sent at once, and end the pause of its endpoint; one under a lease stays as it is.

    The caller knows better than the endpoint's last answer whether it is ready.
    """
    await _UNPAUSE.run(tx, tenant_id=tenant_id, delivery_id=delivery_id)
    await _RESEND.run(tx, tenant_id=tenant_id, delivery_id=delivery_id)


async def count(tx: Tx, wanted: DeliveryFilter) -> Counted:
    """Count the deliveries that may be sent again: neither samples nor those under a lease."""
    conditions, arguments = conditions_of(wanted)
    conditions += [_NOT_UNDER_WAY, _NO_SAMPLE, "p.deleted_at IS NULL"]
    rows = await tx.rows(
        # Before Postgres 18 there is no max of uuids.
        'SELECT d.state, p.disabled_at IS NOT NULL AS disabled, count(*), max(d.id::text COLLATE "C")'
        " FROM delivery d LEFT JOIN endpoint p ON p.id = d.endpoint_id"
        f" WHERE {' AND '.join(conditions)} GROUP BY 1, 2",
        *arguments,
    )
    sent = [row for row in rows if not row.disabled]
    counts = {row.state: row.count for row in sent}
    return Counted(
        sum(counts.values()),
        UUID(max(row.max for row in sent)) if sent else None,
        {state.value: counts[state] for state in DeliveryState if state in counts},
        sum(row.count for row in rows if row.disabled),
    )


async def end_rests(tx: Tx, wanted: DeliveryFilter) -> None:
    """End the pauses of the endpoints of a filter's deliveries.

    The caller knows better than an endpoint's last answer whether it is ready.
    """
    conditions, arguments = conditions_of(wanted)
    await tx.run(
        "UPDATE endpoint p SET paused_until = NULL WHERE p.tenant_id = $1 AND p.paused_until > now()"
        " AND EXISTS (SELECT 1 FROM delivery d WHERE d.endpoint_id = p.id"
        f" AND {' AND '.join(conditions)})",
        *arguments,
    )


async def resend_next(
    tx: Tx, wanted: DeliveryFilter, *, after: UUID | None, until: UUID, limit: int
) -> Batch:
    """Have the next deliveries after one id, up to another, sent again, oldest first.

    Locks them in the order of their ids. Costs the same however many rows the filter leaves out.
    """
    met, arguments, conditions = await next_rows(
        tx, wanted, after=after, until=until, size=_MOST_READ
    )
    arguments += [until, limit]
    until_, limit_ = f"${len(arguments) - 1}::uuid", f"${len(arguments)}"
    which = " AND ".join([*conditions, _NOT_UNDER_WAY, _NO_SAMPLE, _RECEIVED])
    row = await tx.one(
        # `reach` is the id up to which all rows of the filter were read.
        f"""WITH met AS MATERIALIZED ({met}),
reach AS (SELECT COALESCE(min(last)::uuid, {until_}) AS id FROM (
  SELECT max(id::text COLLATE "C") AS last FROM met GROUP BY v HAVING count(*) >= {_MOST_READ}) AS f),
pick AS MATERIALIZED (SELECT d.id FROM met AS d WHERE d.id <= (SELECT id FROM reach) AND {which}
  ORDER BY d.id LIMIT {limit_}),
held AS MATERIALIZED (SELECT d.id FROM delivery d WHERE d.id = ANY(ARRAY(SELECT id FROM pick))
  AND {which} ORDER BY d.id FOR UPDATE OF d),
again AS (UPDATE delivery d SET {_AGAIN.format(now=_IN_TURN)}
  FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM held) AS held
  WHERE d.id = held.id RETURNING d.id)
SELECT (SELECT count(*) FROM again) AS rows, (SELECT count(*) FROM pick) < {limit_} AS through,
  (SELECT id FROM pick ORDER BY id DESC LIMIT 1) AS last, (SELECT id FROM reach) AS reach""",
        *arguments,
    )
    if row.through:
        return Batch(row.rows, row.reach, finished=row.reach >= until)
    return Batch(row.rows, row.last, finished=False)


async def resend_of_jobs(tx: Tx, tenant_id: UUID, job_ids: Sequence[UUID]) -> int:
    """Have all deliveries of some jobs sent again, and end the pauses of their endpoints; returns how many.

    Those under a lease and those of a disabled or deleted endpoint stay as they are.
    """
    await end_rests(tx, DeliveryFilter(tenant_id, jobs=tuple(job_ids)))
    return await _RESEND_OF_JOBS.run(tx, tenant_id=tenant_id, job_ids=list(job_ids))


async def count_missing(
    tx: Tx, tenant_id: UUID, endpoint_id: UUID, since: datetime, before: datetime | None = None
) -> Counted:
    """Count the events of a time that an endpoint has no delivery of."""
    row = await _COUNT_MISSING.one(
        tx, tenant_id=tenant_id, endpoint_id=endpoint_id, since=since, before=before
    )
    return Counted(row.count, row.newest)


async def next_missing(
    tx: Tx,
    tenant_id: UUID,
    endpoint_id: UUID,
    since: datetime,
    before: datetime | None = None,
    *,
    after: UUID | None,
    until: UUID,
    limit: int,
) -> list[UUID]:
    """The next events that an endpoint has no delivery of, oldest first."""
    rows = await _NEXT_MISSING.rows(
        tx,
        tenant_id=tenant_id,
        endpoint_id=endpoint_id,
        since=since,
        before=before,
        after=after,
        until=until,
        limit=limit,
    )
    return [row.id for row in rows]


async def owe(tx: Tx, tenant_id: UUID, endpoint_id: UUID, pairs: list[tuple[UUID, UUID]]) -> None:
    """Add deliveries of events to an endpoint, as (delivery id, event id)."""
    ids, events = [one[0] for one in pairs], [one[1] for one in pairs]
    await _ADD_MISSING.run(tx, tenant_id=tenant_id, endpoint_id=endpoint_id, ids=ids, events=events)
