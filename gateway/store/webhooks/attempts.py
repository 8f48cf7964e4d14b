"""Attempts: how each one ended, for its delivery and for the health of its endpoint.

The flow gateway/flows/deliver records attempts in batches. Each write of a delivery repeats the fencing
token (`lease_token`) of its claim, so a worker whose lease has lapsed moves nothing; its attempt is kept
all the same. After a crash before the record the lease lapses, and the delivery is claimed again.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Attempt
from gateway.store.database import Tx
from gateway.store.statement import Statement

# The join leaves out deliveries of tenants that were erased meanwhile.
_ADD = Statement(
    """
INSERT INTO attempt (delivery_id, number, tenant_id, started_at, duration_ms, url,
  request_headers, status, response_headers, response_body, error_class, detail, timings, next_at)
SELECT u.delivery_id, u.number, u.tenant_id, u.started_at, u.duration_ms, u.url, u.request_headers,
  u.status, u.response_headers, u.response_body, u.error_class, u.detail, u.timings,
  CASE WHEN u.state = 'pending' THEN now() + u.delay * interval '1 second' END
FROM unnest(:delivery_id::uuid[], :number::int[], :tenant_id::uuid[], :started_at::timestamptz[],
  :duration_ms::int[], :url::text[], :request_headers::json[], :status::smallint[],
  :response_headers::json[], :response_body::text[], :error_class::text[], :detail::text[],
  :timings::json[], :state::text[], :delay::float8[])
  AS u(delivery_id, number, tenant_id, started_at, duration_ms, url, request_headers, status,
    response_headers, response_body, error_class, detail, timings, state, delay)
JOIN delivery d ON d.id = u.delivery_id
ON CONFLICT DO NOTHING"""
)

_RECORD = Statement(
    """
UPDATE delivery d SET state = u.state, next_at = now() + u.delay * interval '1 second',
  lease_token = NULL, strikes = 0, last_status = u.status, last_class = u.class, last_error = u.error,
  completed_at = CASE WHEN u.state = 'pending' THEN NULL ELSE now() END
FROM unnest(:delivery_id::uuid[], :token::uuid[], :state::text[], :delay::float8[],
  :status::smallint[], :error_class::text[], :error::text[])
  AS u(id, token, state, delay, status, class, error)
WHERE d.id = u.id AND d.lease_token = u.token AND d.state = 'pending'
RETURNING d.id"""
)

_POSTPONE = Statement(
    """
UPDATE delivery SET attempts = attempts - 1, next_at = now() + :seconds * interval '1 second',
  lease_token = NULL, last_error = :why, strikes = 0
WHERE id = ANY(:delivery_ids::uuid[]) AND lease_token = :token AND state = 'pending'"""
)

_BROKEN = Statement(
    """
UPDATE delivery SET next_at = now() + :seconds * interval '1 second', lease_token = NULL,
  last_error = :why
WHERE id = :delivery_id AND lease_token = :token AND state = 'pending'"""
)

_LEASE = Statement(
    """
UPDATE delivery SET attempts = 1, lease_token = :token,
  next_at = now() + :seconds * interval '1 second'
WHERE id = :delivery_id"""
)

_PAUSE = Statement(
    """
UPDATE endpoint SET paused_until = GREATEST(paused_until, now() + :seconds * interval '1 second')
WHERE id = :endpoint_id"""
)

_RECOVERED = Statement(
    """
UPDATE endpoint SET failing_since = NULL, failures = 0
WHERE id = :endpoint_id AND failing_since IS NOT NULL"""
)

_FAILING = Statement(
    """
UPDATE endpoint SET failing_since = COALESCE(failing_since, now()), failures = failures + :failures
WHERE id = :endpoint_id AND disabled_at IS NULL
RETURNING EXTRACT(epoch FROM now() - failing_since)::float8 AS seconds, failures"""
)

_DISABLE = Statement(
    """
UPDATE endpoint SET disabled_at = now(), disabled_reason = :reason, updated_at = now()
WHERE id = :endpoint_id AND disabled_at IS NULL RETURNING tenant_id"""
)

# A delivery under a lease is recorded by the worker that sends it. The sweep parks those that come back
# from there, and those beyond the limit.
_PARK = Statement(
    """
UPDATE delivery SET state = 'parked', lease_token = NULL, completed_at = now(), last_error = :reason
WHERE id IN (SELECT id FROM delivery WHERE lane = :endpoint_id AND state = 'pending'
  AND (lease_token IS NULL OR next_at <= now()) LIMIT 1000)"""
)

_OF_ATTEMPT = (
    *("number", "started_at", "duration_ms", "url", "request_headers", "status"),
    *("response_headers", "response_body", "error_class", "detail", "timings"),
)


class Recorded(NamedTuple):
    """How one attempt ended: the delivery's new state, and in how many seconds it is due again."""

    delivery_id: UUID
    tenant_id: UUID
    token: UUID
    state: str
    delay: float
    attempt: Attempt


async def record(tx: Tx, done: Sequence[Recorded]) -> set[UUID]:
    """Store attempts and move their deliveries; returns the deliveries that moved.

    A delivery whose fencing token has changed does not move. They are locked in the order of their ids.
    """
    done = sorted(done, key=attrgetter("delivery_id"))
    attempts = [one.attempt for one in done]
    rows = await _RECORD.rows(
        tx,
        delivery_id=[one.delivery_id for one in done],
        token=[one.token for one in done],
        state=[one.state for one in done],
        delay=[one.delay for one in done],
        status=[a.status for a in attempts],
        error_class=[a.error_class for a in attempts],
        error=[a.detail or a.error_class for a in attempts],
    )
    moved = {row.id for row in rows}
    # An attempt that did not end its delivery is followed by another one, and so has a next time.
    await add(tx, [o if o.delivery_id in moved else o._replace(state="pending") for o in done])
    return moved


async def add(tx: Tx, done: Sequence[Recorded]) -> None:
    """Store attempts alone; an attempt that is already stored stays as it is."""
    attempts = [one.attempt for one in done]
    await _ADD.run(
        tx,
        delivery_id=[one.delivery_id for one in done],
        tenant_id=[one.tenant_id for one in done],
        state=[one.state for one in done],
        delay=[one.delay for one in done],
        **{name: list(map(attrgetter(name), attempts)) for name in _OF_ATTEMPT},
    )


async def lease(tx: Tx, delivery_id: UUID, token: UUID, seconds: float) -> None:
    """Lease a new delivery for its first attempt, in the transaction that stores it."""
    await _LEASE.run(tx, delivery_id=delivery_id, token=token, seconds=seconds)


async def postpone(
    tx: Tx, delivery_ids: Sequence[UUID], token: UUID, seconds: float, why: str
) -> None:
    """Put off claimed deliveries that were not attempted; the attempt is not counted."""
    ids = list(delivery_ids)
    await _POSTPONE.run(tx, delivery_ids=ids, token=token, seconds=seconds, why=why)


async def broken(tx: Tx, delivery_id: UUID, token: UUID, seconds: float, why: str) -> None:
    """Put off a delivery whose handling failed; its attempt and its strike stay counted."""
    await _BROKEN.run(tx, delivery_id=delivery_id, token=token, seconds=seconds, why=why)


async def slow(tx: Tx, endpoint_id: UUID, seconds: float) -> None:
    """Pause an endpoint for `seconds`; a longer pause stays."""
    await _PAUSE.run(tx, endpoint_id=endpoint_id, seconds=seconds)


async def well(tx: Tx, endpoint_id: UUID) -> None:
    """Clear the failures of an endpoint: it answers as it should."""
    await _RECOVERED.run(tx, endpoint_id=endpoint_id)


async def failing(tx: Tx, endpoint_id: UUID, failures: int) -> tuple[float, int] | None:
    """Count failures in a row; returns since how many seconds and how many. None once it is disabled."""
    row = await _FAILING.row(tx, endpoint_id=endpoint_id, failures=failures)
    return (row.seconds, row.failures) if row else None


async def disable(tx: Tx, endpoint_id: UUID, reason: str) -> UUID | None:
    """Disable an endpoint and park its pending deliveries; returns its tenant.

    None if it was disabled already.
    """
    row = await _DISABLE.row(tx, endpoint_id=endpoint_id, reason=reason)
    await _PARK.run(tx, endpoint_id=endpoint_id, reason=reason)
    return row.tenant_id if row else None
