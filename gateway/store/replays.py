"""Deliveries that are sent again, and events that were never delivered."""

from datetime import datetime
from uuid import UUID

from gateway.store.delivery_filter import DeliveryFilter, conditions_of
from gateway.store.engine import Tx

# The schedule begins anew; what was tried before stays counted and told.
_AGAIN = """state = 'pending', next_at = now(), lease_token = NULL, strikes = 0, spared = attempts,
  resent_at = now(), completed_at = NULL"""

_RESEND = f"""
UPDATE delivery SET {_AGAIN} WHERE tenant_id = $1 AND id = $2
  AND NOT (state = 'pending' AND lease_token IS NOT NULL AND next_at > now())"""

_WAKE = """
UPDATE endpoint p SET paused_until = NULL FROM delivery d
WHERE d.tenant_id = $1 AND d.id = $2 AND p.id = d.endpoint_id AND p.paused_until > now()"""

# What has no receiver any more, or a disabled one, is left as it is.
_RECEIVED = """ AND NOT EXISTS (SELECT 1 FROM endpoint p WHERE p.id = d.endpoint_id
  AND (p.disabled_at IS NOT NULL OR p.deleted_at IS NOT NULL))"""

# Events that an endpoint asks for and has no delivery of, also from before it existed.
_MISSING = """
FROM event e JOIN endpoint p ON p.id = $2 AND p.tenant_id = e.tenant_id
WHERE e.tenant_id = $1 AND e.created_at >= $3 AND p.deleted_at IS NULL
  AND NOT e.is_sample AND e.endpoint_id IS DISTINCT FROM p.id
  AND (cardinality(p.events) = 0 OR e.type = ANY(p.events))
  AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.event_id = e.id AND d.endpoint_id = p.id)"""

# A cursor that was pruned meanwhile is no bound: what was owed before is not missing any more.
_NEXT_MISSING = f"""
SELECT e.id {_MISSING}
  AND e.created_at >= COALESCE((SELECT created_at FROM event WHERE id = $4), $3)
  AND e.created_at <= COALESCE((SELECT created_at FROM event WHERE id = $5), now())
ORDER BY e.created_at, e.id LIMIT $6"""

_ADD_MISSING = """
INSERT INTO delivery (id, tenant_id, event_id, job_id, endpoint_id, lane, type, resent_at)
SELECT u.id, e.tenant_id, e.id, e.job_id, $2, $2, e.type, now()
FROM unnest($3::uuid[], $4::uuid[]) AS u(id, event_id) JOIN event e ON e.id = u.event_id
WHERE e.tenant_id = $1
ON CONFLICT (event_id, endpoint_id) DO NOTHING"""


async def resend(tx: Tx, tenant_id: UUID, delivery_id: UUID) -> None:
    """Have a delivery sent again at once; one under way stays as it is.

    Whoever asks for it knows better than the last answer how long the endpoint is to rest.
    """
    await tx.run(_RESEND, tenant_id, delivery_id)
    await tx.run(_WAKE, tenant_id, delivery_id)


async def count(tx: Tx, wanted: DeliveryFilter) -> tuple[int, UUID | None]:
    """How many deliveries there are, and the newest of them."""
    conditions, arguments = conditions_of(wanted)
    found = f"FROM delivery d WHERE {' AND '.join(conditions)}{_RECEIVED}"
    newest = f"SELECT d.id {found} ORDER BY d.id DESC LIMIT 1"
    row = await tx.one(f"SELECT count(*), ({newest}) {found}", *arguments)
    return row[0], row[1]


async def resend_next(
    tx: Tx, wanted: DeliveryFilter, *, after: UUID | None, until: UUID, limit: int
) -> list[UUID]:
    """Have the next deliveries sent again, oldest first, from after one up to another."""
    conditions, arguments = conditions_of(wanted)
    arguments += [after, until, limit]
    size = len(arguments)
    rows = await tx.rows(
        f"WITH pick AS (SELECT d.id FROM delivery d WHERE {' AND '.join(conditions)}{_RECEIVED} AND (${size - 2}::uuid IS NULL OR d.id > ${size - 2})"
        f" AND d.id <= ${size - 1} ORDER BY d.id LIMIT ${size} FOR UPDATE OF d)"
        f" UPDATE delivery SET {_AGAIN} FROM pick WHERE delivery.id = pick.id"
        " RETURNING delivery.id",
        *arguments,
    )
    return sorted(row.id for row in rows)


async def count_missing(
    tx: Tx, tenant_id: UUID, endpoint_id: UUID, since: datetime
) -> tuple[int, UUID | None]:
    """How many events an endpoint was never owed, and the newest of them."""
    newest = f"SELECT e.id {_MISSING} ORDER BY e.created_at DESC, e.id DESC LIMIT 1"
    sql = f"SELECT count(*), ({newest}) {_MISSING}"
    row = await tx.one(sql, tenant_id, endpoint_id, since)
    return row[0], row[1]


async def next_missing(
    tx: Tx,
    tenant_id: UUID,
    endpoint_id: UUID,
    since: datetime,
    *,
    after: UUID | None,
    until: UUID,
    limit: int,
) -> list[UUID]:
    """The next events that an endpoint was never owed, oldest first."""
    rows = await tx.rows(_NEXT_MISSING, tenant_id, endpoint_id, since, after, until, limit)
    return [row.id for row in rows]


async def owe(tx: Tx, tenant_id: UUID, endpoint_id: UUID, pairs: list[tuple[UUID, UUID]]) -> None:
    """Owe events to an endpoint, as (delivery id, event id)."""
    await tx.run(
        _ADD_MISSING, tenant_id, endpoint_id, [one[0] for one in pairs], [one[1] for one in pairs]
    )
