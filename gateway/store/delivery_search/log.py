"""The delivery log: deliveries and their attempts as callers read them."""

from collections.abc import Sequence
from uuid import UUID

from gateway.core.model import Attempt, Delivery, DeliveryState
from gateway.store.database import AnyRow, Tx
from gateway.store.delivery_search.filter import DeliveryFilter
from gateway.store.delivery_search.search import search
from gateway.store.statement import Query, Statement, fields_of

_COLUMNS = """
  d.id, d.tenant_id, d.event_id, d.type AS event_type, d.job_id, d.endpoint_id,
  COALESCE(d.url, (SELECT p.url FROM endpoint p WHERE p.id = d.endpoint_id), '') AS url,
  d.state, d.attempts, d.next_at, d.last_status, d.last_class, d.last_error, d.resent_at,
  d.created_at, d.completed_at,
  d.job_id IS NULL AND (SELECT s.is_sample FROM event s WHERE s.id = d.event_id) IS TRUE AS is_sample"""
_STATE = fields_of(Delivery).index("state")


def _delivery(row: Sequence[object]) -> Delivery:
    values: list[object] = list(row)
    values[_STATE] = DeliveryState(str(values[_STATE]))
    return Delivery(*values)  # pyright: ignore[reportArgumentType] - columns in the order of fields


_ONE = Statement(
    f"""
SELECT {_COLUMNS}, e.body FROM delivery d JOIN event e ON e.id = d.event_id
WHERE d.tenant_id = :tenant_id AND d.id = :delivery_id"""
)

_OWNER = Statement("SELECT tenant_id FROM delivery WHERE id = :delivery_id")

_OF_JOB = Query(
    f"""
SELECT {_COLUMNS} FROM delivery d
WHERE d.tenant_id = :tenant_id AND d.job_id = :job_id ORDER BY d.id""",
    Delivery,
    lambda row: _delivery(tuple(row)),
)

_MOST = 4_000_000
_ATTEMPTS_OF = Statement(
    """
SELECT delivery_id, number, started_at, duration_ms, url,
  CASE WHEN has_room THEN request_headers ELSE '{}' END AS request_headers, status,
  CASE WHEN has_room THEN response_headers END AS response_headers,
  CASE WHEN has_room THEN response_body END AS response_body, error_class, detail, timings, next_at,
  NOT has_room AS truncated
FROM (SELECT a.*, sum(COALESCE(octet_length(a.response_body), 0)
    + COALESCE(pg_column_size(a.response_headers), 0) + pg_column_size(a.request_headers))
    OVER (ORDER BY a.delivery_id DESC, a.number DESC ROWS UNBOUNDED PRECEDING) <= :most AS has_room
  FROM attempt a WHERE a.tenant_id = :tenant_id AND a.delivery_id = ANY(:delivery_ids::uuid[])) AS a
ORDER BY delivery_id, number"""
)


async def page(
    tx: Tx, wanted: DeliveryFilter, *, before: UUID | None, limit: int
) -> list[Delivery]:
    """Deliveries older than the id `before`, newest first, by keyset paging."""
    found, arguments = await search(tx, wanted, before=before, limit=limit)
    sql = (
        f"SELECT {_COLUMNS} FROM ({found}) AS found JOIN delivery d ON d.id = found.id"
        " ORDER BY d.id DESC"
    )
    return [_delivery(tuple(row)) for row in await tx.rows(sql, *arguments)]


async def find(tx: Tx, tenant_id: UUID, delivery_id: UUID) -> tuple[Delivery, str] | None:
    """Find a delivery, with the frozen body that it sends."""
    row = await _ONE.row(tx, tenant_id=tenant_id, delivery_id=delivery_id)
    return (_delivery(tuple(row)[:-1]), row.body) if row else None


async def owner(tx: Tx, delivery_id: UUID) -> UUID | None:
    """The tenant of a delivery."""
    row = await _OWNER.row(tx, delivery_id=delivery_id)
    return row.tenant_id if row else None


async def of_job(tx: Tx, tenant_id: UUID, job_id: UUID) -> list[Delivery]:
    """All deliveries of a job's events, oldest first."""
    return await _OF_JOB.rows(tx, tenant_id=tenant_id, job_id=job_id)


async def attempts(
    tx: Tx, tenant_id: UUID, delivery_ids: Sequence[UUID], *, most: int = _MOST
) -> list[tuple[UUID, Attempt]]:
    """The attempts of deliveries, in order.

    Headers and bodies are read of the latest attempts, up to `most` bytes; the others are `truncated`.
    """
    rows = await _ATTEMPTS_OF.rows(
        tx, tenant_id=tenant_id, delivery_ids=list(delivery_ids), most=most
    )
    return [(row.delivery_id, _attempt(row)) for row in rows]


def _attempt(row: AnyRow) -> Attempt:
    return Attempt(**{name: row[name] for name in fields_of(Attempt)})
