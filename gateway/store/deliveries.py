"""Deliveries: claim, record attempts, read, send again."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Attempt, Delivery, DeliveryState
from gateway.store.engine import AnyRow, Tx

# Walks the lanes that owe something, and takes from each at most what its cap leaves free, in
# random order of lanes: an endpoint that hangs holds its own cap and nothing else.
_CLAIM = """
WITH RECURSIVE lane AS (
  (SELECT lane FROM delivery WHERE state = 'pending' ORDER BY lane LIMIT 1)
  UNION ALL
  SELECT (SELECT d.lane FROM delivery d WHERE d.state = 'pending' AND d.lane > lane.lane
    ORDER BY d.lane LIMIT 1) FROM lane WHERE lane.lane IS NOT NULL
), room AS (
  SELECT lane.lane, $2 - (SELECT count(*) FROM delivery b WHERE b.lane = lane.lane
    AND b.state = 'pending' AND b.next_at > now()
    AND b.next_at <= now() + $3 * interval '1 second' AND b.lease_token IS NOT NULL) AS free
  FROM lane LEFT JOIN endpoint p ON p.id = lane.lane
  WHERE lane.lane IS NOT NULL AND (p.paused_until IS NULL OR p.paused_until <= now())
  ORDER BY random()
), pick AS (
  SELECT d.id FROM room CROSS JOIN LATERAL (
    SELECT id FROM delivery WHERE lane = room.lane AND state = 'pending' AND next_at <= now()
    ORDER BY next_at LIMIT GREATEST(room.free, 0) FOR UPDATE SKIP LOCKED) AS d
  LIMIT $1
)
UPDATE delivery d SET attempts = d.attempts + 1, next_at = now() + $3 * interval '1 second',
  lease_token = $4
FROM pick, event e
WHERE d.id = pick.id AND e.id = d.event_id
RETURNING d.id, d.tenant_id, d.event_id, d.job_id, d.endpoint_id,
  COALESCE(d.url, (SELECT p.url FROM endpoint p WHERE p.id = d.endpoint_id)) AS url, d.attempts,
  e.type, e.body, e.created_at"""

_SECRETS = """
SELECT s.id, s.tenant_id, s.endpoint_id, s.sealed
FROM (SELECT DISTINCT tenant_id, endpoint_id
  FROM unnest($1::uuid[], $2::uuid[]) AS u(tenant_id, endpoint_id)) AS u
JOIN signing_secret s ON s.tenant_id = u.tenant_id
  AND s.endpoint_id IS NOT DISTINCT FROM u.endpoint_id
WHERE s.expires_at IS NULL OR s.expires_at > now()
ORDER BY s.id DESC"""

_ATTEMPTS = """
INSERT INTO attempt (delivery_id, number, tenant_id, started_at, duration_ms, url,
  request_headers, status, response_headers, response_body, error_class, detail)
SELECT u.* FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::timestamptz[], $5::int[],
  $6::text[], $7::json[], $8::smallint[], $9::json[], $10::text[], $11::text[], $12::text[])
  AS u(delivery_id, number, tenant_id, started_at, duration_ms, url, request_headers, status,
    response_headers, response_body, error_class, detail)
JOIN delivery d ON d.id = u.delivery_id  -- whose tenant was erased meanwhile leaves nothing
ON CONFLICT DO NOTHING"""

_RECORD = """
UPDATE delivery d SET state = u.state, next_at = now() + u.delay * interval '1 second',
  lease_token = NULL, last_status = u.status, last_error = u.error,
  completed_at = CASE WHEN u.state = 'pending' THEN NULL ELSE now() END
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::float8[], $5::smallint[], $6::text[])
  AS u(id, token, state, delay, status, error)
WHERE d.id = u.id AND d.lease_token = u.token AND d.state = 'pending'"""

_POSTPONE = """
UPDATE delivery SET attempts = attempts - 1, next_at = now() + $3 * interval '1 second',
  lease_token = NULL, last_error = $4
WHERE id = ANY($1::uuid[]) AND lease_token = $2 AND state = 'pending'"""

_SLOW = """
UPDATE endpoint SET paused_until = GREATEST(paused_until, now() + $2 * interval '1 second')
WHERE id = $1"""

_DISABLE = """
UPDATE endpoint SET disabled_at = now(), disabled_reason = $2, updated_at = now()
WHERE id = $1 AND disabled_at IS NULL RETURNING tenant_id"""

_PARK = """
UPDATE delivery SET state = 'parked', lease_token = NULL, completed_at = now(), last_error = $2
WHERE endpoint_id = $1 AND state = 'pending'"""

_COLUMNS = """
  d.id, d.tenant_id, d.event_id, e.type, d.job_id, d.endpoint_id,
  COALESCE(d.url, (SELECT p.url FROM endpoint p WHERE p.id = d.endpoint_id), '') AS url,
  d.state, d.attempts, d.next_at, d.last_status, d.last_error, d.created_at, d.completed_at"""
_STATE = 7

_ONE = f"""
SELECT {_COLUMNS} FROM delivery d JOIN event e ON e.id = d.event_id
WHERE d.tenant_id = $1 AND d.id = $2"""

_OF_JOB = f"""
SELECT {_COLUMNS} FROM delivery d JOIN event e ON e.id = d.event_id
WHERE d.tenant_id = $1 AND d.job_id = $2 ORDER BY d.id"""

_ATTEMPTS_OF = """
SELECT delivery_id, number, started_at, duration_ms, url, request_headers, status,
  response_headers, response_body, error_class, detail
FROM attempt WHERE tenant_id = $1 AND delivery_id = ANY($2::uuid[]) ORDER BY delivery_id, number"""


class ToDeliver(NamedTuple):
    """A claimed delivery with the frozen bytes that it sends."""

    id: UUID
    tenant_id: UUID
    event_id: UUID
    job_id: UUID | None
    endpoint_id: UUID | None
    url: str
    attempts: int
    type: str
    body: str
    event_at: datetime


class SealedSecret(NamedTuple):
    """A live signing secret; without an endpoint it is the tenant's default."""

    id: UUID
    tenant_id: UUID
    endpoint_id: UUID | None
    sealed: bytes


class Recorded(NamedTuple):
    """What one attempt came to: the delivery's new state, and when it is due again."""

    delivery_id: UUID
    tenant_id: UUID
    token: UUID
    state: str
    delay: float
    attempt: Attempt


async def claim(tx: Tx, limit: int, *, cap: int, lease: float, token: UUID) -> list[ToDeliver]:
    """Take due deliveries, fairly over receivers; the attempt is counted by being claimed."""
    return [ToDeliver(*row) for row in await tx.rows(_CLAIM, limit, cap, lease, token)]


async def secrets(tx: Tx, claimed: Sequence[ToDeliver]) -> list[SealedSecret]:
    """The live signing secrets for these deliveries, newest first."""
    rows = await tx.rows(_SECRETS, [d.tenant_id for d in claimed], [d.endpoint_id for d in claimed])
    return [SealedSecret(*row) for row in rows]


async def record(tx: Tx, done: Sequence[Recorded]) -> None:
    """Store attempts and move their deliveries; a lease that was lost changes nothing."""
    done = sorted(done, key=lambda one: one.delivery_id)
    tries = [one.attempt for one in done]
    await tx.run(
        _ATTEMPTS,
        [one.delivery_id for one in done],
        [a.number for a in tries],
        [one.tenant_id for one in done],
        [a.started_at for a in tries],
        [a.duration_ms for a in tries],
        [a.url for a in tries],
        [a.request_headers for a in tries],
        [a.status for a in tries],
        [a.response_headers for a in tries],
        [a.response_body for a in tries],
        [a.error_class for a in tries],
        [a.detail for a in tries],
    )
    await tx.run(
        _RECORD,
        [one.delivery_id for one in done],
        [one.token for one in done],
        [one.state for one in done],
        [one.delay for one in done],
        [a.status for a in tries],
        [a.detail or a.error_class for a in tries],
    )


async def postpone(
    tx: Tx, delivery_ids: Sequence[UUID], token: UUID, seconds: float, why: str
) -> None:
    """Put claimed deliveries off that were not tried, without counting an attempt."""
    await tx.run(_POSTPONE, list(delivery_ids), token, seconds, why)


async def slow(tx: Tx, endpoint_id: UUID, seconds: float) -> None:
    """Let an endpoint rest."""
    await tx.run(_SLOW, endpoint_id, seconds)


async def disable(tx: Tx, endpoint_id: UUID, reason: str) -> UUID | None:
    """Disable an endpoint and park what it is owed; its tenant, or None if it was disabled."""
    row = await tx.row(_DISABLE, endpoint_id, reason)
    await tx.run(_PARK, endpoint_id, reason)
    return row.tenant_id if row else None


async def find(tx: Tx, tenant_id: UUID, delivery_id: UUID) -> Delivery | None:
    """Find a delivery."""
    row = await tx.row(_ONE, tenant_id, delivery_id)
    return _delivery(row) if row else None


async def of_job(tx: Tx, tenant_id: UUID, job_id: UUID) -> list[Delivery]:
    """All deliveries that a job caused."""
    return [_delivery(row) for row in await tx.rows(_OF_JOB, tenant_id, job_id)]


async def attempts(
    tx: Tx, tenant_id: UUID, delivery_ids: Sequence[UUID]
) -> list[tuple[UUID, Attempt]]:
    """The attempts of deliveries, in order."""
    rows = await tx.rows(_ATTEMPTS_OF, tenant_id, list(delivery_ids))
    return [(row.delivery_id, _attempt(row)) for row in rows]


def _delivery(row: AnyRow) -> Delivery:
    values = list(row)
    values[_STATE] = DeliveryState(values[_STATE])
    return Delivery(*values)


def _attempt(row: AnyRow) -> Attempt:
    return Attempt(*tuple(row)[1:])
