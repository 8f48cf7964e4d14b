"""Dead letters by their reason: how many there are of each receiver, error class and status."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.delivery_search.search import PROBE_INDEXES
from gateway.store.statement import Query


class DeadLetterGroup(NamedTuple):
    """Dead letters with the same reason; without an endpoint they went to callback URLs of jobs.

    `of_letters` and `of_groups` are how many dead letters and groups there are with those that are left out.
    """

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
    of_letters: int
    of_groups: int


def _groups(of_tenant: str) -> str:
    """The groups of the newest dead letters; tests are left out: they are sent once, and never again."""
    return f"""
WITH dead AS MATERIALIZED (
  SELECT d.tenant_id, d.endpoint_id, d.last_class, d.last_status, d.created_at FROM delivery d
  WHERE {of_tenant}d.state = 'exhausted' AND (d.job_id IS NOT NULL
    OR (SELECT e.is_sample FROM event e WHERE e.id = d.event_id) IS NOT TRUE)
  ORDER BY d.id DESC LIMIT :most),
groups AS (SELECT tenant_id, endpoint_id, last_class, last_status, count(*) AS letters,
    min(created_at) AS oldest, max(created_at) AS newest
  FROM dead GROUP BY tenant_id, endpoint_id, last_class, last_status),
largest AS MATERIALIZED (SELECT *, (sum(letters) OVER ())::bigint AS of_letters, count(*) OVER () AS of_groups
  FROM groups ORDER BY letters DESC, newest DESC LIMIT :shown)
SELECT t.slug AS tenant, g.endpoint_id, p.url, p.disabled_at IS NOT NULL AS is_disabled,
  p.deleted_at IS NOT NULL AS is_deleted, g.last_class AS error_class, g.last_status AS status,
  g.letters, g.oldest, g.newest, g.of_letters, g.of_groups
FROM largest g JOIN tenant t ON t.id = g.tenant_id LEFT JOIN endpoint p ON p.id = g.endpoint_id
ORDER BY g.letters DESC, g.newest DESC"""


_OF_ALL = Query(_groups(""), DeadLetterGroup)
_OF_ONE = Query(_groups("d.tenant_id = :tenant_id AND "), DeadLetterGroup)


async def groups(tx: Tx, tenant_id: UUID | None, *, most: int, shown: int) -> list[DeadLetterGroup]:
    """The `shown` largest groups of a tenant (None: of all); the newest `most` dead letters are counted."""
    await tx.prepare(PROBE_INDEXES)
    if tenant_id is None:
        return await _OF_ALL.rows(tx, most=most, shown=shown)
    return await _OF_ONE.rows(tx, tenant_id=tenant_id, most=most, shown=shown)
