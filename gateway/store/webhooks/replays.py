"""Deliveries that are sent again, and events that were never delivered."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import DeliveryState
from gateway.store.database import Tx
from gateway.store.delivery_search.filter import DeliveryFilter, conditions_of
from gateway.store.delivery_search.search import stretch

# One that has ended begins its schedule anew; what was tried before stays counted and told. One that
# waits is only brought forward: an attempt before its time does not count on the schedule, so all
# those that were still to come do come.
_AGAIN = """state = 'pending', resent_at = now(), completed_at = NULL,
  next_at = CASE WHEN d.state = 'pending' THEN LEAST(d.next_at, {now}) ELSE {now} END,
  strikes = CASE WHEN d.state = 'pending' THEN d.strikes ELSE 0 END,
  spared = CASE WHEN d.state <> 'pending' THEN d.attempts
    WHEN d.next_at > now() THEN LEAST(d.spared + 1, d.attempts) ELSE d.spared END"""

# What is being sent is recorded by who sends it.
_NOT_UNDER_WAY = "NOT (d.state = 'pending' AND d.lease_token IS NOT NULL AND d.next_at > now())"

# A sample is sent once, and by a call of its own. Jobs have none, so of those no event is looked up.
_NO_SAMPLE = """(d.job_id IS NOT NULL
  OR (SELECT e.is_sample FROM event e WHERE e.id = d.event_id) IS NOT TRUE)"""

_RESEND = f"""
UPDATE delivery d SET {_AGAIN.format(now="now()")} WHERE d.tenant_id = $1 AND d.id = $2 AND {_NOT_UNDER_WAY}"""

_WAKE = """
UPDATE endpoint p SET paused_until = NULL FROM delivery d
WHERE d.tenant_id = $1 AND d.id = $2 AND p.id = d.endpoint_id AND p.paused_until > now()"""

# What has no receiver any more, or a disabled one, is left as it is.
_RECEIVED = """NOT EXISTS (SELECT 1 FROM endpoint p WHERE p.id = d.endpoint_id
  AND (p.disabled_at IS NOT NULL OR p.deleted_at IS NOT NULL))"""

# A batch is due in its order, all of it before this moment.
_IN_TURN = "now() - interval '1 second' + held.place * interval '1 microsecond'"

# Rows that a batch looks at, of each state, type or receiver that is asked for.
_STRETCH = 1_000

# Events that an endpoint asks for and has no delivery of, also from before it existed.
_MISSING = """
FROM event e JOIN endpoint p ON p.id = $2 AND p.tenant_id = e.tenant_id
WHERE e.tenant_id = $1 AND e.created_at >= $3 AND ($4::timestamptz IS NULL OR e.created_at < $4)
  AND p.deleted_at IS NULL
  AND NOT e.is_sample AND e.endpoint_id IS DISTINCT FROM p.id
  AND (cardinality(p.events) = 0 OR e.type = ANY(p.events))
  AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.event_id = e.id AND d.endpoint_id = p.id)"""

# A cursor that was pruned meanwhile is no bound: what was owed before is not missing any more.
_NEXT_MISSING = f"""
SELECT e.id {_MISSING}
  AND e.created_at >= COALESCE((SELECT created_at FROM event WHERE id = $5), $3)
  AND e.created_at <= COALESCE((SELECT created_at FROM event WHERE id = $6), now())
ORDER BY e.created_at, e.id LIMIT $7"""

_ADD_MISSING = """
INSERT INTO delivery (id, tenant_id, event_id, job_id, endpoint_id, lane, type, resent_at)
SELECT u.id, e.tenant_id, e.id, e.job_id, $2, $2, e.type, now()
FROM unnest($3::uuid[], $4::uuid[]) AS u(id, event_id) JOIN event e ON e.id = u.event_id
WHERE e.tenant_id = $1
ON CONFLICT (event_id, endpoint_id) DO NOTHING"""


class Counted(NamedTuple):
    """How many may be sent again, and the newest of them; of deliveries also how many of each state.

    `disabled` is how many deliveries there are besides whose endpoint is disabled.
    """

    total: int
    until: UUID | None
    states: Mapping[str, int] = MappingProxyType({})
    disabled: int = 0


class Batch(NamedTuple):
    """How many deliveries were handled, the last one looked at, and whether that was all."""

    rows: int
    last: UUID
    finished: bool


async def resend(tx: Tx, tenant_id: UUID, delivery_id: UUID) -> None:
    """Have a delivery sent at once; one under way stays as it is.

    Whoever asks for it knows better than the last answer how long the endpoint is to rest.
    """
    await tx.run(_WAKE, tenant_id, delivery_id)
    await tx.run(_RESEND, tenant_id, delivery_id)


async def count(tx: Tx, wanted: DeliveryFilter) -> Counted:
    """Count what may be sent again: neither samples nor what is being sent."""
    conditions, arguments = conditions_of(wanted)
    conditions += [_NOT_UNDER_WAY, _NO_SAMPLE, "p.deleted_at IS NULL"]
    rows = await tx.rows(
        # There is no max of uuids before Postgres 18.
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
    """End the rests of the endpoints that deliveries of a filter wait for.

    Whoever asks for them knows better than the last answer how long an endpoint is to rest.
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
    """Have the next deliveries sent again, oldest first, from after one up to another."""
    met, arguments, conditions = await stretch(tx, wanted, after=after, until=until, size=_STRETCH)
    arguments += [until, limit]
    until_, limit_ = f"${len(arguments) - 1}::uuid", f"${len(arguments)}"
    which = " AND ".join([*conditions, _NOT_UNDER_WAY, _NO_SAMPLE, _RECEIVED])
    row = await tx.one(
        # `reach` is how far all of what is asked for was looked at.
        f"""WITH met AS MATERIALIZED ({met}),
reach AS (SELECT COALESCE(min(last)::uuid, {until_}) AS id FROM (
  SELECT max(id::text COLLATE "C") AS last FROM met GROUP BY v HAVING count(*) >= {_STRETCH}) AS f),
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


async def count_missing(
    tx: Tx, tenant_id: UUID, endpoint_id: UUID, since: datetime, before: datetime | None = None
) -> Counted:
    """Count the events of a time that an endpoint was never owed."""
    newest = f"SELECT e.id {_MISSING} ORDER BY e.created_at DESC, e.id DESC LIMIT 1"
    sql = f"SELECT count(*), ({newest}) {_MISSING}"
    row = await tx.one(sql, tenant_id, endpoint_id, since, before)
    return Counted(row[0], row[1])


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
    """The next events that an endpoint was never owed, oldest first."""
    rows = await tx.rows(_NEXT_MISSING, tenant_id, endpoint_id, since, before, after, until, limit)
    return [row.id for row in rows]


async def owe(tx: Tx, tenant_id: UUID, endpoint_id: UUID, pairs: list[tuple[UUID, UUID]]) -> None:
    """Owe events to an endpoint, as (delivery id, event id)."""
    await tx.run(
        _ADD_MISSING, tenant_id, endpoint_id, [one[0] for one in pairs], [one[1] for one in pairs]
    )
