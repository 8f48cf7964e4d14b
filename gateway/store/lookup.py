"""Look-ups for the search box: each kind of thing by its id or name, each through one index.

A prefix is searched only where an index serves it: ids of jobs, and slugs of tenants. Request ids are
not stored with anything, so they cannot be looked up here; the log has them.
"""

from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Query, Statement


class LookupMatch(NamedTuple):
    """One thing: its kind, id, tenant (slug), and words that a person knows it by."""

    kind: str
    id: str
    tenant: str
    label: str


# Which rows a search may see: those of these tenants, or all for null.
_VISIBLE = "({row}.tenant_id = ANY(:tenants::uuid[]) OR :tenants::uuid[] IS NULL)"
_OF_TENANT = "JOIN tenant t ON t.id = {row}.tenant_id"
_STATUS = "j.name || ' · ' || j.state"


def _jobs(condition: str) -> str:
    return f"""(SELECT 'job' AS kind, j.id::text AS id, t.slug AS tenant, {_STATUS} AS label
  FROM job j {_OF_TENANT.format(row="j")}
  WHERE {condition} AND j.deleted_at IS NULL AND {_VISIBLE.format(row="j")} LIMIT :limit)"""


def _deliveries(condition: str) -> str:
    return f"""(SELECT 'delivery', d.id::text, t.slug, COALESCE(d.type, 'event') || ' · ' || d.state
  FROM delivery d {_OF_TENANT.format(row="d")}
  WHERE {condition} AND {_VISIBLE.format(row="d")} LIMIT :limit)"""


_BY_ID = Query(
    f"""
{_jobs("j.id = :id")}
UNION ALL
(SELECT 'event', e.id::text, t.slug, e.type FROM event e {_OF_TENANT.format(row="e")}
  WHERE e.id = :id AND {_VISIBLE.format(row="e")})
UNION ALL
{_deliveries("d.id = :id")}
UNION ALL
{_deliveries("d.event_id = :id")}""",
    LookupMatch,
)

# Of tenants one by one, because the index begins with them.
_JOBS_BETWEEN = Query(
    f"""
SELECT 'job' AS kind, found.id::text AS id, t.slug AS tenant, found.label FROM tenant t
CROSS JOIN LATERAL (SELECT j.id, {_STATUS} AS label FROM job j
  WHERE j.tenant_id = t.id AND j.id >= :first AND j.id <= :last AND j.deleted_at IS NULL
  ORDER BY j.id DESC LIMIT :limit) AS found
WHERE t.id = ANY(:tenants::uuid[]) ORDER BY found.id DESC LIMIT :limit""",
    LookupMatch,
)

_ALL_JOBS_BETWEEN = Query(
    f"""
SELECT 'job' AS kind, j.id::text AS id, t.slug AS tenant, {_STATUS} AS label
FROM (SELECT * FROM job WHERE id >= :first AND id <= :last AND deleted_at IS NULL
  ORDER BY id DESC LIMIT :limit) AS j {_OF_TENANT.format(row="j")} ORDER BY j.id DESC""",
    LookupMatch,
)

# A job has its upstream id in one index while it is at the upstream, and in another once it has ended.
_BY_UPSTREAM_ID = Query(
    f"""
{
        _jobs(
            "j.completed_at IS NOT NULL AND j.upstream_id IS NOT NULL"
            " AND hashtextextended(j.upstream_id, 0) = hashtextextended(:text, 0)"
            " AND j.upstream_id = :text",
        )
    }
UNION ALL
(SELECT 'job', j.id::text, t.slug, {_STATUS}
  FROM unnest(:credentials::uuid[]) AS c(id)
  JOIN job j ON j.credential_id = c.id AND j.upstream_id = :text
    AND j.state IN ('submitted', 'running') {_OF_TENANT.format(row="j")}
  WHERE j.deleted_at IS NULL AND {_VISIBLE.format(row="j")} LIMIT :limit)""",
    LookupMatch,
)

_CREDENTIALS = Statement(
    f"SELECT c.id FROM credential c WHERE {_VISIBLE.format(row='c')} ORDER BY c.id"
)

_BY_IDEMPOTENCY_KEY = Query(
    f"""
SELECT 'job' AS kind, found.id::text AS id, t.slug AS tenant, found.label
FROM tenant t CROSS JOIN LATERAL (SELECT j.id, {_STATUS} AS label FROM job j
  WHERE j.tenant_id = t.id AND j.idempotency_key = :text AND j.deleted_at IS NULL LIMIT 1) AS found
WHERE t.id = ANY(:tenants::uuid[]) OR :tenants::uuid[] IS NULL LIMIT :limit""",
    LookupMatch,
)

# One job of each tenant stands for the batch.
_BATCHES = Query(
    """
SELECT 'batch' AS kind, :text::text AS id, t.slug AS tenant, 'batch ' || :text AS label
FROM tenant t CROSS JOIN LATERAL (SELECT 1 FROM job_label l JOIN job j ON j.id = l.job_id
  WHERE l.label = hashtextextended('batch:' || :text, 0) AND l.tenant_id = t.id
    AND j.batch_name = :text LIMIT 1) AS found
WHERE t.id = ANY(:tenants::uuid[]) OR :tenants::uuid[] IS NULL LIMIT :limit""",
    LookupMatch,
)

# In the order of the index, whatever the collation of the database is.
_TENANTS = Query(
    """
SELECT 'tenant' AS kind, slug AS id, slug AS tenant, name AS label FROM tenant
WHERE slug ~>=~ :text AND slug ~<~ (:text || '~') ORDER BY slug USING ~<~ LIMIT :limit""",
    LookupMatch,
)


async def by_id(tx: Tx, id_: UUID, tenants: list[UUID] | None, limit: int) -> list[LookupMatch]:
    """Jobs, events and deliveries with an id, and the deliveries of an event."""
    return await _BY_ID.rows(tx, id=id_, tenants=tenants, limit=limit)


async def jobs_between(
    tx: Tx, first: UUID, last: UUID, tenants: list[UUID] | None, limit: int
) -> list[LookupMatch]:
    """The newest jobs between two ids, both included."""
    if tenants is None:
        return await _ALL_JOBS_BETWEEN.rows(tx, first=first, last=last, limit=limit)
    return await _JOBS_BETWEEN.rows(tx, first=first, last=last, tenants=tenants, limit=limit)


async def credentials_of(tx: Tx, tenants: list[UUID] | None) -> list[UUID]:
    """The ids of all versions of the credentials of tenants; statements for tenants cannot read them."""
    return [row.id for row in await _CREDENTIALS.rows(tx, tenants=tenants)]


async def by_upstream_id(
    tx: Tx, text: str, credentials: list[UUID], tenants: list[UUID] | None, limit: int
) -> list[LookupMatch]:
    """Jobs with this id at the upstream, submitted with one of these credentials or ended."""
    return await _BY_UPSTREAM_ID.rows(
        tx, text=text, credentials=credentials, tenants=tenants, limit=limit
    )


async def by_name(tx: Tx, text: str, tenants: list[UUID] | None, limit: int) -> list[LookupMatch]:
    """Jobs with this idempotency key, and batches of this name."""
    given = {"text": text, "tenants": tenants, "limit": limit}
    return await _BY_IDEMPOTENCY_KEY.rows(tx, **given) + await _BATCHES.rows(tx, **given)


async def tenants_from(tx: Tx, text: str, limit: int) -> list[LookupMatch]:
    """Tenants whose slug begins with a text."""
    return await _TENANTS.rows(tx, text=text, limit=limit)
