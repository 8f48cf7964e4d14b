"""Dead letters by their reason: how many there are of each receiver, error class and status."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Query


class DeadLetterGroup(NamedTuple):
    """Dead letters with the same reason; without an endpoint they went to callback URLs of jobs."""

    tenant: str
    endpoint_id: UUID | None
    url: str | None
    is_disabled: bool
    is_deleted: bool
    error_class: str | None
    status: int | None
    letters: int
    oldest: datetime
    newest: datetime


# Tests are left out: they are sent once, and never again.
_GROUPS = Query(
    """
WITH dead AS MATERIALIZED (SELECT t.slug, d.* FROM tenant t CROSS JOIN LATERAL (
    SELECT d.endpoint_id, d.last_class, d.last_status, d.created_at FROM delivery d
    WHERE d.tenant_id = t.id AND d.state = 'exhausted' AND (d.job_id IS NOT NULL
      OR (SELECT e.is_sample FROM event e WHERE e.id = d.event_id) IS NOT TRUE)
    ORDER BY d.id DESC LIMIT :most) AS d
  WHERE :tenant_id::uuid IS NULL OR t.id = :tenant_id::uuid LIMIT :most),
groups AS (SELECT slug, endpoint_id, last_class, last_status, count(*) AS letters,
    min(created_at) AS oldest, max(created_at) AS newest
  FROM dead GROUP BY slug, endpoint_id, last_class, last_status)
SELECT g.slug AS tenant, g.endpoint_id, p.url, p.disabled_at IS NOT NULL AS is_disabled,
  p.deleted_at IS NOT NULL AS is_deleted, g.last_class AS error_class, g.last_status AS status,
  g.letters, g.oldest, g.newest
FROM groups g LEFT JOIN endpoint p ON p.id = g.endpoint_id
ORDER BY g.letters DESC, g.newest DESC""",
    DeadLetterGroup,
)


async def groups(tx: Tx, tenant_id: UUID | None, *, most: int) -> list[DeadLetterGroup]:
    """The groups of a tenant (None: of all), the largest first; at most `most` dead letters are counted."""
    return await _GROUPS.rows(tx, tenant_id=tenant_id, most=most)
