"""Endpoints as people look at them: lists of one tenant or of all, what waits, and the last attempts."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Query

# Deliveries are counted up to this number, and one more says that there are more.
MOST_COUNTED = 10_000


class EndpointRow(NamedTuple):
    """An endpoint in a list."""

    id: UUID
    tenant: str
    url: str
    description: str
    events: list[str]
    failing_since: datetime | None
    failures: int
    disabled_at: datetime | None
    disabled_reason: str | None
    created_at: datetime


class EndpointBacklog(NamedTuple):
    """What an endpoint has not received: each count ends at MOST_COUNTED + 1."""

    pending: int
    next_at: datetime | None
    parked: int
    exhausted: int
    paused_until: datetime | None


class AttemptMark(NamedTuple):
    """One attempt as a mark in a strip."""

    delivery_id: UUID
    number: int
    started_at: datetime
    duration_ms: int
    status: int | None
    error_class: str | None


_PAGE = Query(
    """
SELECT p.id, t.slug AS tenant, p.url, p.description, p.events, p.failing_since, p.failures,
  p.disabled_at, p.disabled_reason, p.created_at
FROM endpoint p JOIN tenant t ON t.id = p.tenant_id
WHERE p.deleted_at IS NULL
  AND (:tenant_id::uuid IS NULL OR p.tenant_id = :tenant_id::uuid)
  AND (:before::uuid IS NULL OR p.id < :before::uuid)
  AND (:text = '' OR strpos(lower(p.url), lower(:text)) > 0)
  AND CASE :health WHEN 'failing' THEN p.failing_since IS NOT NULL AND p.disabled_at IS NULL
    WHEN 'disabled' THEN p.disabled_at IS NOT NULL
    WHEN 'well' THEN p.failing_since IS NULL AND p.disabled_at IS NULL ELSE TRUE END
ORDER BY p.id DESC LIMIT :limit""",
    EndpointRow,
)

_BACKLOG = Query(
    f"""
SELECT (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE lane = p.id AND state = 'pending'
    LIMIT {MOST_COUNTED + 1}) AS d) AS pending,
  (SELECT min(next_at) FROM delivery WHERE lane = p.id AND state = 'pending') AS next_at,
  (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE tenant_id = p.tenant_id
    AND endpoint_id = p.id AND state = 'parked' LIMIT {MOST_COUNTED + 1}) AS d) AS parked,
  (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE tenant_id = p.tenant_id
    AND endpoint_id = p.id AND state = 'exhausted' LIMIT {MOST_COUNTED + 1}) AS d) AS exhausted,
  p.paused_until
FROM endpoint p WHERE p.tenant_id = :tenant_id AND p.id = :endpoint_id""",
    EndpointBacklog,
)

# There is no index of attempts by their time, so those of the newest deliveries are read.
_LAST = Query(
    """
SELECT a.* FROM (SELECT id FROM delivery WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id
    ORDER BY id DESC LIMIT :limit) AS d
  CROSS JOIN LATERAL (SELECT delivery_id, number, started_at, duration_ms, status, error_class
    FROM attempt WHERE delivery_id = d.id ORDER BY number DESC LIMIT :limit) AS a
ORDER BY a.started_at DESC, a.delivery_id DESC, a.number DESC LIMIT :limit""",
    AttemptMark,
)


async def page(
    tx: Tx,
    *,
    tenant_id: UUID | None,
    health: str,
    text: str,
    before: UUID | None,
    limit: int,
) -> list[EndpointRow]:
    """Endpoints older than `before`, newest first: of one tenant, or of all for None.

    `health` is failing, disabled, well or empty; the URL has `text` in it.
    """
    return await _PAGE.rows(
        tx, tenant_id=tenant_id, health=health, text=text, before=before, limit=limit
    )


async def backlog(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> EndpointBacklog | None:
    """What waits for an endpoint, is parked, or was given up."""
    return await _BACKLOG.row(tx, tenant_id=tenant_id, endpoint_id=endpoint_id)


async def last_attempts(
    tx: Tx, tenant_id: UUID, endpoint_id: UUID, *, limit: int
) -> list[AttemptMark]:
    """The latest attempts among those of the newest `limit` deliveries to an endpoint, newest first."""
    return await _LAST.rows(tx, tenant_id=tenant_id, endpoint_id=endpoint_id, limit=limit)
