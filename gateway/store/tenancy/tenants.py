"""Tenants and their credentials for the upstream."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Credential, Limits, Tenant
from gateway.store.conditions import UPSTREAM_STATES
from gateway.store.database import AnyRow, Tx
from gateway.store.statement import Query, Statement
from gateway.store.usage.rollups import KEY, summed, upsert

_LIMITS = [one.name for one in fields(Limits)]
_COLUMNS = f"""id, slug, name, metadata, send_traceparent, suspended_at, created_at, updated_at,
  {", ".join(_LIMITS)}"""

_ADD = Statement(
    f"""
INSERT INTO tenant (id, slug, name, metadata, send_traceparent, {", ".join(_LIMITS)})
VALUES (:tenant_id, :slug, :name, :metadata, :send_traceparent, {", ".join(f":{name}" for name in _LIMITS)})
ON CONFLICT (slug) DO NOTHING RETURNING {_COLUMNS}"""
)

_CHANGE = Statement(
    f"""
UPDATE tenant SET name = :name, metadata = :metadata, send_traceparent = :send_traceparent,
  updated_at = now(), {", ".join(f"{name} = :{name}" for name in _LIMITS)}
WHERE id = :tenant_id RETURNING {_COLUMNS}"""
)

_SUSPEND = Statement(
    f"""
UPDATE tenant SET suspended_at = CASE WHEN :suspended THEN COALESCE(suspended_at, now()) END,
  updated_at = now() WHERE id = :tenant_id RETURNING {_COLUMNS}"""
)

_BY_SLUG = Statement(f"SELECT {_COLUMNS} FROM tenant WHERE slug = :slug")
_BY_ID = Statement(f"SELECT {_COLUMNS} FROM tenant WHERE id = :tenant_id")
_IDS = Statement("SELECT slug, id FROM tenant WHERE slug = ANY(:slugs::text[])")
_SLUGS = Statement("SELECT id, slug FROM tenant WHERE id = ANY(:tenant_ids::uuid[])")
_LOCK = Statement("SELECT 1 FROM tenant WHERE id = :tenant_id FOR UPDATE")

_PAGE = Statement(
    f"""
SELECT {_COLUMNS} FROM tenant WHERE (:after::text IS NULL OR slug > :after)
  AND (:text::text = '' OR position(:text IN slug) > 0 OR position(:text IN lower(name)) > 0)
ORDER BY slug LIMIT :limit"""
)

_ERASE_SOME = Statement(
    """
WITH delivery_ids AS MATERIALIZED (SELECT id FROM delivery WHERE tenant_id = :tenant_id LIMIT :limit),
  job_ids AS MATERIALIZED (SELECT id FROM job WHERE tenant_id = :tenant_id LIMIT :limit),
  event_ids AS MATERIALIZED (SELECT id FROM event WHERE tenant_id = :tenant_id LIMIT :limit),
  attempts AS (DELETE FROM attempt WHERE delivery_id IN (SELECT id FROM delivery_ids)),
  notes AS (DELETE FROM job_event WHERE job_id IN (SELECT id FROM job_ids)),
  deliveries AS (DELETE FROM delivery WHERE id IN (SELECT id FROM delivery_ids) RETURNING 1),
  jobs AS (DELETE FROM job WHERE id IN (SELECT id FROM job_ids) RETURNING 1),
  events AS (DELETE FROM event WHERE id IN (SELECT id FROM event_ids) RETURNING 1)
SELECT (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM jobs)
  + (SELECT count(*) FROM events) AS deleted"""
)

_OF_HOUR = "tenant_id, hour, workflow, status, error_code"
# Batch names are the tenant's own words, so its usage goes on without them.
_FORGET_BATCHES = (
    "WITH moved AS (DELETE FROM usage_hourly WHERE tenant_id = :tenant_id AND batch_name <> '' RETURNING *) "
) + upsert(
    "usage_hourly",
    KEY,
    f"SELECT {_OF_HOUR}, '', shard, {summed()} FROM moved GROUP BY {_OF_HOUR}, shard",
)

# Everything of a tenant but its usage, children first.
_ERASE = tuple(
    map(
        Statement,
        (
            # Endpoints come before their deliveries, as a claim of deliveries locks them in that order.
            "UPDATE endpoint SET deleted_at = COALESCE(deleted_at, now()) WHERE tenant_id = :tenant_id",
            "DELETE FROM attempt WHERE delivery_id IN (SELECT id FROM delivery WHERE tenant_id = :tenant_id)",
            "DELETE FROM job_event WHERE job_id IN (SELECT id FROM job WHERE tenant_id = :tenant_id)",
            _FORGET_BATCHES,
            "DELETE FROM bulk WHERE tenant_id = :tenant_id",
            "DELETE FROM prune_cursor WHERE tenant_id = :tenant_id",
            "DELETE FROM delivery WHERE tenant_id = :tenant_id",
            "DELETE FROM event WHERE tenant_id = :tenant_id",
            "DELETE FROM job WHERE tenant_id = :tenant_id",
            "DELETE FROM tenant_load WHERE tenant_id = :tenant_id",
            "DELETE FROM signing_secret WHERE tenant_id = :tenant_id",
            "DELETE FROM endpoint WHERE tenant_id = :tenant_id",
            "DELETE FROM saved_view WHERE tenant_id = :tenant_id",
            "DELETE FROM portal_look WHERE tenant_id = :tenant_id",
            "DELETE FROM session_link WHERE tenant_id = :tenant_id",
            "DELETE FROM session WHERE tenant_id = :tenant_id",
            "DELETE FROM access_key WHERE tenant_id = :tenant_id",
            "DELETE FROM credential WHERE tenant_id = :tenant_id",
            "DELETE FROM usage_hour WHERE tenant_id = :tenant_id",
            "DELETE FROM usage_horizon WHERE tenant_id = :tenant_id",
            # Its usage keeps the tenant's id, and no other row may link that id to a name.
            "UPDATE audit SET tenant_id = NULL WHERE tenant_id = :tenant_id",
            "UPDATE access_key SET tenants = array_remove(tenants, :tenant_id) WHERE :tenant_id = ANY (tenants)",
            "DELETE FROM tenant WHERE id = :tenant_id",
        ),
    )
)

_CREDENTIAL = """id, tenant_id, version, base_url, sealed, rejected_at, rejected_reason,
  created_at"""

_ADD_CREDENTIAL = Query(
    f"""
INSERT INTO credential (id, tenant_id, version, base_url, sealed)
VALUES (:credential_id, :tenant_id, :version, :base_url, :sealed) RETURNING {_CREDENTIAL}""",
    Credential,
)

_CURRENT = Query(
    f"""
SELECT {_CREDENTIAL} FROM credential WHERE tenant_id = :tenant_id ORDER BY version DESC LIMIT 1""",
    Credential,
)

_CREDENTIAL_BY_ID = Query(
    f"SELECT {_CREDENTIAL} FROM credential WHERE id = :credential_id", Credential
)


class CredentialInUse(NamedTuple):
    """One version of a credential as operators see it."""

    version: int
    base_url: str
    created_at: datetime
    rejected_at: datetime | None
    rejected_reason: str | None
    failures: int
    paused_until: datetime | None
    in_flight: int


_VERSIONS = Query(
    f"""
SELECT version, base_url, created_at, rejected_at, rejected_reason, failures, paused_until,
  (SELECT count(*) FROM job j WHERE j.credential_id = c.id
    AND j.state IN {UPSTREAM_STATES}) AS in_flight
FROM credential c WHERE tenant_id = :tenant_id ORDER BY version DESC""",
    CredentialInUse,
)


async def add(
    tx: Tx,
    tenant_id: UUID,
    *,
    slug: str,
    name: str,
    metadata: str,
    limits: Limits,
    send_traceparent: Sequence[str] = (),
) -> Tenant | None:
    """Create a tenant; None when the slug is taken."""
    row = await _ADD.row(
        tx,
        tenant_id=tenant_id,
        slug=slug,
        name=name,
        metadata=metadata,
        send_traceparent=sorted(set(send_traceparent)),
        **asdict(limits),
    )
    return _tenant(row) if row else None


async def change(
    tx: Tx,
    tenant_id: UUID,
    *,
    name: str,
    metadata: str,
    limits: Limits,
    send_traceparent: Sequence[str],
) -> Tenant | None:
    """Replace the name, the metadata, the limits of a tenant, and who is sent a traceparent."""
    row = await _CHANGE.row(
        tx,
        tenant_id=tenant_id,
        name=name,
        metadata=metadata,
        send_traceparent=sorted(set(send_traceparent)),
        **asdict(limits),
    )
    return _tenant(row) if row else None


async def suspend(tx: Tx, tenant_id: UUID, *, suspended: bool) -> Tenant | None:
    """Suspend a tenant, or end its suspension."""
    row = await _SUSPEND.row(tx, tenant_id=tenant_id, suspended=suspended)
    return _tenant(row) if row else None


async def erase_some(tx: Tx, tenant_id: UUID, limit: int) -> bool:
    """Delete up to `limit` deliveries, jobs and events each; whether there were any."""
    return (await _ERASE_SOME.one(tx, tenant_id=tenant_id, limit=limit)).deleted > 0


async def erase(tx: Tx, tenant_id: UUID) -> None:
    """Delete a tenant and everything of it but its usage."""
    for statement in _ERASE:
        await statement.run(tx, tenant_id=tenant_id)


async def by_slug(tx: Tx, slug: str) -> Tenant | None:
    """Find a tenant by its slug."""
    row = await _BY_SLUG.row(tx, slug=slug)
    return _tenant(row) if row else None


async def by_id(tx: Tx, tenant_id: UUID) -> Tenant | None:
    """Find a tenant by its id."""
    row = await _BY_ID.row(tx, tenant_id=tenant_id)
    return _tenant(row) if row else None


async def ids_of(tx: Tx, slugs: Sequence[str]) -> dict[str, UUID]:
    """The ids of those of these slugs that exist."""
    return {row.slug: row.id for row in await _IDS.rows(tx, slugs=list(slugs))}


async def slugs_of(tx: Tx, tenant_ids: Collection[UUID]) -> dict[UUID, str]:
    """The slugs of those of these tenants that exist."""
    rows = await _SLUGS.rows(tx, tenant_ids=list(tenant_ids))
    return {row.id: row.slug for row in rows}


async def page(tx: Tx, after: str | None, limit: int, *, text: str = "") -> list[Tenant]:
    """Tenants after the slug `after`, in the order of their slugs, by keyset paging.

    With a text only those that have it in their slug or name, in upper or lower case.
    """
    rows = await _PAGE.rows(tx, after=after, limit=limit, text=text.lower())
    return [_tenant(row) for row in rows]


async def lock(tx: Tx, tenant_id: UUID) -> None:
    """Lock a tenant's row, so that changes to what it owns happen one after the other."""
    await _LOCK.run(tx, tenant_id=tenant_id)


async def add_credential(
    tx: Tx, credential_id: UUID, tenant_id: UUID, *, version: int, base_url: str, sealed: bytes
) -> Credential:
    """Store the next version of a tenant's credential."""
    return await _ADD_CREDENTIAL.one(
        tx,
        credential_id=credential_id,
        tenant_id=tenant_id,
        version=version,
        base_url=base_url,
        sealed=sealed,
    )


async def credential(tx: Tx, tenant_id: UUID) -> Credential | None:
    """The newest version of a tenant's credential, which its new jobs are submitted with."""
    return await _CURRENT.row(tx, tenant_id=tenant_id)


async def credential_by_id(tx: Tx, credential_id: UUID) -> Credential | None:
    """One version of a credential."""
    return await _CREDENTIAL_BY_ID.row(tx, credential_id=credential_id)


async def credentials(tx: Tx, tenant_id: UUID) -> list[CredentialInUse]:
    """All versions of a tenant's credential, newest first."""
    return await _VERSIONS.rows(tx, tenant_id=tenant_id)


def _tenant(row: AnyRow) -> Tenant:
    return Tenant(
        row.id,
        row.slug,
        row.name,
        row.metadata,
        Limits(*(row[name] for name in _LIMITS)),
        tuple(row.send_traceparent or ()),
        row.suspended_at,
        row.created_at,
        row.updated_at,
    )
