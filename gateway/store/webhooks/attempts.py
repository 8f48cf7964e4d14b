"""Attempts: what came of them, for their delivery and for the health of its endpoint."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Attempt
from gateway.store.database import Tx

_ADD = """
INSERT INTO attempt (delivery_id, number, tenant_id, started_at, duration_ms, url,
  request_headers, status, response_headers, response_body, error_class, detail, timings, next_at)
SELECT u.delivery_id, u.number, u.tenant_id, u.started_at, u.duration_ms, u.url, u.request_headers,
  u.status, u.response_headers, u.response_body, u.error_class, u.detail, u.timings,
  CASE WHEN u.state = 'pending' THEN now() + u.delay * interval '1 second' END
FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::timestamptz[], $5::int[], $6::text[],
  $7::json[], $8::smallint[], $9::json[], $10::text[], $11::text[], $12::text[], $13::json[],
  $14::text[], $15::float8[])
  AS u(delivery_id, number, tenant_id, started_at, duration_ms, url, request_headers, status,
    response_headers, response_body, error_class, detail, timings, state, delay)
JOIN delivery d ON d.id = u.delivery_id  -- whose tenant was erased meanwhile leaves nothing
ON CONFLICT DO NOTHING"""

_RECORD = """
UPDATE delivery d SET state = u.state, next_at = now() + u.delay * interval '1 second',
  lease_token = NULL, strikes = 0, last_status = u.status, last_class = u.class, last_error = u.error,
  completed_at = CASE WHEN u.state = 'pending' THEN NULL ELSE now() END
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::float8[], $5::smallint[],
  $6::text[], $7::text[]) AS u(id, token, state, delay, status, class, error)
WHERE d.id = u.id AND d.lease_token = u.token AND d.state = 'pending'
RETURNING d.id"""

_POSTPONE = """
UPDATE delivery SET attempts = attempts - 1, next_at = now() + $3 * interval '1 second',
  lease_token = NULL, last_error = $4, strikes = 0
WHERE id = ANY($1::uuid[]) AND lease_token = $2 AND state = 'pending'"""

_BROKEN = """
UPDATE delivery SET next_at = now() + $3 * interval '1 second', lease_token = NULL, last_error = $4
WHERE id = $1 AND lease_token = $2 AND state = 'pending'"""

_LEASE = """
UPDATE delivery SET attempts = 1, lease_token = $2, next_at = now() + $3 * interval '1 second'
WHERE id = $1"""

_SLOW = """
UPDATE endpoint SET paused_until = GREATEST(paused_until, now() + $2 * interval '1 second')
WHERE id = $1"""

_WELL = """
UPDATE endpoint SET failing_since = NULL, failures = 0
WHERE id = $1 AND failing_since IS NOT NULL"""

_FAILING = """
UPDATE endpoint SET failing_since = COALESCE(failing_since, now()), failures = failures + $2
WHERE id = $1 AND disabled_at IS NULL
RETURNING EXTRACT(epoch FROM now() - failing_since)::float8, failures"""

_DISABLE = """
UPDATE endpoint SET disabled_at = now(), disabled_reason = $2, updated_at = now()
WHERE id = $1 AND disabled_at IS NULL RETURNING tenant_id"""

# What is under way is recorded by who sends it; the sweep parks what comes back from there, and
# what is beyond the limit.
_PARK = """
UPDATE delivery SET state = 'parked', lease_token = NULL, completed_at = now(), last_error = $2
WHERE id IN (SELECT id FROM delivery WHERE lane = $1 AND state = 'pending'
  AND (lease_token IS NULL OR next_at <= now()) LIMIT 1000)"""


class Recorded(NamedTuple):
    """What one attempt came to: the delivery's new state, and when it is due again."""

    delivery_id: UUID
    tenant_id: UUID
    token: UUID
    state: str
    delay: float
    attempt: Attempt


async def record(tx: Tx, done: Sequence[Recorded]) -> set[UUID]:
    """Store attempts and move their deliveries; those it moved. A lease that was lost moves nothing."""
    done = sorted(done, key=lambda one: one.delivery_id)
    tries = [one.attempt for one in done]
    rows = await tx.rows(
        _RECORD,
        [one.delivery_id for one in done],
        [one.token for one in done],
        [one.state for one in done],
        [one.delay for one in done],
        [a.status for a in tries],
        [a.error_class for a in tries],
        [a.detail or a.error_class for a in tries],
    )
    moved = {row.id for row in rows}
    # Only the attempt that ended its delivery is followed by none.
    await add(tx, [o if o.delivery_id in moved else o._replace(state="pending") for o in done])
    return moved


async def add(tx: Tx, done: Sequence[Recorded]) -> None:
    """Store attempts alone; one that is stored already stays as it is."""
    tries = [one.attempt for one in done]
    await tx.run(
        _ADD,
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
        [a.timings for a in tries],
        [one.state for one in done],
        [one.delay for one in done],
    )


async def lease(tx: Tx, delivery_id: UUID, token: UUID, seconds: float) -> None:
    """Take a new delivery for its first attempt, in the transaction that stores it."""
    await tx.run(_LEASE, delivery_id, token, seconds)


async def postpone(
    tx: Tx, delivery_ids: Sequence[UUID], token: UUID, seconds: float, why: str
) -> None:
    """Put claimed deliveries off that were not tried, without counting an attempt."""
    await tx.run(_POSTPONE, list(delivery_ids), token, seconds, why)


async def broken(tx: Tx, delivery_id: UUID, token: UUID, seconds: float, why: str) -> None:
    """Put a delivery off whose handling failed; that stays counted."""
    await tx.run(_BROKEN, delivery_id, token, seconds, why)


async def slow(tx: Tx, endpoint_id: UUID, seconds: float) -> None:
    """Let an endpoint rest."""
    await tx.run(_SLOW, endpoint_id, seconds)


async def well(tx: Tx, endpoint_id: UUID) -> None:
    """Note that an endpoint answers as it should."""
    await tx.run(_WELL, endpoint_id)


async def failing(tx: Tx, endpoint_id: UUID, failures: int) -> tuple[float, int] | None:
    """Count failures in a row: for how many seconds, and how many; None once it is disabled."""
    row = await tx.row(_FAILING, endpoint_id, failures)
    return (row[0], row[1]) if row else None


async def disable(tx: Tx, endpoint_id: UUID, reason: str) -> UUID | None:
    """Disable an endpoint and park what it is owed; its tenant, or None if it was disabled."""
    row = await tx.row(_DISABLE, endpoint_id, reason)
    await tx.run(_PARK, endpoint_id, reason)
    return row.tenant_id if row else None
