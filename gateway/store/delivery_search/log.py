"""Deliveries and their attempts as callers read them."""

from collections.abc import Sequence
from uuid import UUID

from gateway.core.model import Attempt, Delivery, DeliveryState
from gateway.store.database import AnyRow, Tx
from gateway.store.delivery_search.filter import DeliveryFilter
from gateway.store.delivery_search.search import search

_COLUMNS = """
  d.id, d.tenant_id, d.event_id, d.type, d.job_id, d.endpoint_id,
  COALESCE(d.url, (SELECT p.url FROM endpoint p WHERE p.id = d.endpoint_id), '') AS url,
  d.state, d.attempts, d.next_at, d.last_status, d.last_class, d.last_error, d.resent_at,
  d.created_at, d.completed_at,
  d.job_id IS NULL AND (SELECT s.is_sample FROM event s WHERE s.id = d.event_id) IS TRUE AS is_sample"""
_STATE = 7

_ONE = f"""
SELECT {_COLUMNS}, e.body FROM delivery d JOIN event e ON e.id = d.event_id
WHERE d.tenant_id = $1 AND d.id = $2"""

_OF_JOB = f"""
SELECT {_COLUMNS} FROM delivery d
WHERE d.tenant_id = $1 AND d.job_id = $2 ORDER BY d.id"""

_MOST = 4_000_000
# What was sent and came back is read of the last attempts, as far as there is room for it.
_ATTEMPTS_OF = """
SELECT delivery_id, number, started_at, duration_ms, url,
  CASE WHEN has_room THEN request_headers ELSE '{}' END, status,
  CASE WHEN has_room THEN response_headers END, CASE WHEN has_room THEN response_body END,
  error_class, detail, timings, next_at, NOT has_room
FROM (SELECT a.*, sum(COALESCE(octet_length(a.response_body), 0)
    + COALESCE(pg_column_size(a.response_headers), 0) + pg_column_size(a.request_headers))
    OVER (ORDER BY a.delivery_id DESC, a.number DESC ROWS UNBOUNDED PRECEDING) <= $3 AS has_room
  FROM attempt a WHERE a.tenant_id = $1 AND a.delivery_id = ANY($2::uuid[])) AS a
ORDER BY delivery_id, number"""


async def page(
    tx: Tx, wanted: DeliveryFilter, *, before: UUID | None, limit: int
) -> list[Delivery]:
    """Deliveries, newest first: those older than `before`."""
    found, arguments = await search(tx, wanted, before=before, limit=limit)
    sql = (
        f"SELECT {_COLUMNS} FROM ({found}) AS found JOIN delivery d ON d.id = found.id"
        " ORDER BY d.id DESC"
    )
    return [_delivery(tuple(row)) for row in await tx.rows(sql, *arguments)]


async def find(tx: Tx, tenant_id: UUID, delivery_id: UUID) -> tuple[Delivery, str] | None:
    """Find a delivery, with the frozen body that it sends."""
    row = await tx.row(_ONE, tenant_id, delivery_id)
    return (_delivery(tuple(row)[:-1]), row.body) if row else None


async def of_job(tx: Tx, tenant_id: UUID, job_id: UUID) -> list[Delivery]:
    """All deliveries that a job caused."""
    return [_delivery(tuple(row)) for row in await tx.rows(_OF_JOB, tenant_id, job_id)]


async def attempts(
    tx: Tx, tenant_id: UUID, delivery_ids: Sequence[UUID], *, most: int = _MOST
) -> list[tuple[UUID, Attempt]]:
    """The attempts of deliveries, in order; the last ones with headers and bodies, up to `most` bytes."""
    rows = await tx.rows(_ATTEMPTS_OF, tenant_id, list(delivery_ids), most)
    return [(row.delivery_id, _attempt(row)) for row in rows]


def _delivery(row: Sequence[object]) -> Delivery:
    values: list[object] = list(row)
    values[_STATE] = DeliveryState(str(values[_STATE]))
    return Delivery(*values)  # pyright: ignore[reportArgumentType] - columns in the order of fields


def _attempt(row: AnyRow) -> Attempt:
    return Attempt(*tuple(row)[1:])
