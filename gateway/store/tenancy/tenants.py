"""Tenants and their credentials for the upstream."""

from collections.abc import Sequence
from dataclasses import astuple, fields
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Credential, Limits, Tenant
from gateway.store.database import AnyRow, Tx
from gateway.store.usage.rollups import KEY, summed, upsert

_LIMITS = [one.name for one in fields(Limits)]
_COLUMNS = f"id, slug, name, metadata, suspended_at, created_at, updated_at, {', '.join(_LIMITS)}"

_ADD = f"""
INSERT INTO tenant (id, slug, name, metadata, {", ".join(_LIMITS)})
VALUES ($1, $2, $3, $4, {", ".join(f"${n}" for n in range(5, 5 + len(_LIMITS)))})
ON CONFLICT (slug) DO NOTHING RETURNING {_COLUMNS}"""

_CHANGE = f"""
UPDATE tenant SET name = $2, metadata = $3, updated_at = now(),
  {", ".join(f"{name} = ${place + 4}" for place, name in enumerate(_LIMITS))}
WHERE id = $1 RETURNING {_COLUMNS}"""

_SUSPEND = f"""
UPDATE tenant SET suspended_at = CASE WHEN $2 THEN COALESCE(suspended_at, now()) END,
  updated_at = now() WHERE id = $1 RETURNING {_COLUMNS}"""

_PAGE = f"""
SELECT {_COLUMNS} FROM tenant WHERE ($1::text IS NULL OR slug > $1) ORDER BY slug LIMIT $2"""

# Of what there may be millions, at most $2 of each; who finishes it counts what it deleted.
_ERASE_SOME = """
WITH sent AS MATERIALIZED (SELECT id FROM delivery WHERE tenant_id = $1 LIMIT $2),
  made AS MATERIALIZED (SELECT id FROM job WHERE tenant_id = $1 LIMIT $2),
  told AS MATERIALIZED (SELECT id FROM event WHERE tenant_id = $1 LIMIT $2),
  tried AS (DELETE FROM attempt WHERE delivery_id IN (SELECT id FROM sent)),
  noted AS (DELETE FROM job_event WHERE job_id IN (SELECT id FROM made)),
  owed AS (DELETE FROM delivery WHERE id IN (SELECT id FROM sent) RETURNING 1),
  done AS (DELETE FROM job WHERE id IN (SELECT id FROM made) RETURNING 1),
  fed AS (DELETE FROM event WHERE id IN (SELECT id FROM told) RETURNING 1)
SELECT (SELECT count(*) FROM owed) + (SELECT count(*) FROM done) + (SELECT count(*) FROM fed)"""

_OF_HOUR = "tenant_id, hour, workflow, status, error_code"
# The names of batches are the tenant's own words.
_FORGET_BATCHES = (
    "WITH moved AS (DELETE FROM usage_hourly WHERE tenant_id = $1 AND batch_name <> '' RETURNING *) "
) + upsert(
    "usage_hourly",
    KEY,
    f"SELECT {_OF_HOUR}, '', shard, {summed()} FROM moved GROUP BY {_OF_HOUR}, shard",
)

# Everything of a tenant but its usage, children first. Those of many rows are found by their parents.
_ERASE = (
    # Endpoints before their deliveries, as who delivers holds them.
    "UPDATE endpoint SET deleted_at = COALESCE(deleted_at, now()) WHERE tenant_id = $1",
    "DELETE FROM attempt WHERE delivery_id IN (SELECT id FROM delivery WHERE tenant_id = $1)",
    "DELETE FROM job_event WHERE job_id IN (SELECT id FROM job WHERE tenant_id = $1)",
    _FORGET_BATCHES,
    "DELETE FROM bulk WHERE tenant_id = $1",
    "DELETE FROM prune_cursor WHERE tenant_id = $1",
    "DELETE FROM delivery WHERE tenant_id = $1",
    "DELETE FROM event WHERE tenant_id = $1",
    "DELETE FROM job WHERE tenant_id = $1",
    "DELETE FROM tenant_load WHERE tenant_id = $1",
    "DELETE FROM signing_secret WHERE tenant_id = $1",
    "DELETE FROM endpoint WHERE tenant_id = $1",
    "DELETE FROM access_key WHERE tenant_id = $1",
    "DELETE FROM credential WHERE tenant_id = $1",
    "DELETE FROM usage_hour WHERE tenant_id = $1",
    "DELETE FROM usage_horizon WHERE tenant_id = $1",
    # Its usage keeps an id, which nothing is to give a name.
    "UPDATE audit SET tenant_id = NULL WHERE tenant_id = $1",
    "UPDATE access_key SET tenants = array_remove(tenants, $1) WHERE $1 = ANY (tenants)",
    "DELETE FROM tenant WHERE id = $1",
)

_CREDENTIAL = """id, tenant_id, version, base_url, sealed, rejected_at, rejected_reason,
  created_at"""

_ADD_CREDENTIAL = f"""
INSERT INTO credential (id, tenant_id, version, base_url, sealed) VALUES ($1, $2, $3, $4, $5)
RETURNING {_CREDENTIAL}"""

_CURRENT = f"""
SELECT {_CREDENTIAL} FROM credential WHERE tenant_id = $1 ORDER BY version DESC LIMIT 1"""


class CredentialInUse(NamedTuple):
    """One version as operators see it."""

    version: int
    base_url: str
    created_at: datetime
    rejected_at: datetime | None
    rejected_reason: str | None
    failures: int
    paused_until: datetime | None
    in_flight: int


_VERSIONS = """
SELECT version, base_url, created_at, rejected_at, rejected_reason, failures, paused_until,
  (SELECT count(*) FROM job j WHERE j.credential_id = c.id
    AND j.state IN ('submitted', 'running')) AS in_flight
FROM credential c WHERE tenant_id = $1 ORDER BY version DESC"""


async def add(
    tx: Tx, tenant_id: UUID, *, slug: str, name: str, metadata: str, limits: Limits
) -> Tenant | None:
    """Create a tenant; None when the slug is taken."""
    row = await tx.row(_ADD, tenant_id, slug, name, metadata, *astuple(limits))
    return _tenant(row) if row else None


async def change(
    tx: Tx, tenant_id: UUID, *, name: str, metadata: str, limits: Limits
) -> Tenant | None:
    """Replace what may change of a tenant."""
    row = await tx.row(_CHANGE, tenant_id, name, metadata, *astuple(limits))
    return _tenant(row) if row else None


async def suspend(tx: Tx, tenant_id: UUID, *, suspended: bool) -> Tenant | None:
    """Suspend a tenant or let it go on."""
    row = await tx.row(_SUSPEND, tenant_id, suspended)
    return _tenant(row) if row else None


async def erase_some(tx: Tx, tenant_id: UUID, limit: int) -> bool:
    """Delete some of what a tenant may have much of; whether there was anything."""
    return (await tx.one(_ERASE_SOME, tenant_id, limit))[0] > 0


async def erase(tx: Tx, tenant_id: UUID) -> None:
    """Delete a tenant and all that is its."""
    for statement in _ERASE:
        await tx.run(statement, tenant_id)


async def by_slug(tx: Tx, slug: str) -> Tenant | None:
    """Find a tenant by its slug."""
    row = await tx.row(f"SELECT {_COLUMNS} FROM tenant WHERE slug = $1", slug)
    return _tenant(row) if row else None


async def by_id(tx: Tx, tenant_id: UUID) -> Tenant | None:
    """Find a tenant by its id."""
    row = await tx.row(f"SELECT {_COLUMNS} FROM tenant WHERE id = $1", tenant_id)
    return _tenant(row) if row else None


async def ids_of(tx: Tx, slugs: Sequence[str]) -> dict[str, UUID]:
    """The ids of those of these slugs that exist."""
    rows = await tx.rows("SELECT slug, id FROM tenant WHERE slug = ANY($1::text[])", list(slugs))
    return {row.slug: row.id for row in rows}


async def page(tx: Tx, after: str | None, limit: int) -> list[Tenant]:
    """Tenants in the order of their slugs."""
    return [_tenant(row) for row in await tx.rows(_PAGE, after, limit)]


async def lock(tx: Tx, tenant_id: UUID) -> None:
    """Hold a tenant's row, so that changes to what it owns happen one after the other."""
    await tx.run("SELECT 1 FROM tenant WHERE id = $1 FOR UPDATE", tenant_id)


async def add_credential(
    tx: Tx, credential_id: UUID, tenant_id: UUID, *, version: int, base_url: str, sealed: bytes
) -> Credential:
    """Store the next version of a tenant's credential."""
    row = await tx.one(_ADD_CREDENTIAL, credential_id, tenant_id, version, base_url, sealed)
    return Credential(*row)


async def credential(tx: Tx, tenant_id: UUID) -> Credential | None:
    """The credential that new jobs of a tenant are submitted with."""
    row = await tx.row(_CURRENT, tenant_id)
    return Credential(*row) if row else None


async def credential_by_id(tx: Tx, credential_id: UUID) -> Credential | None:
    """One version of a credential."""
    row = await tx.row(f"SELECT {_CREDENTIAL} FROM credential WHERE id = $1", credential_id)
    return Credential(*row) if row else None


async def credentials(tx: Tx, tenant_id: UUID) -> list[CredentialInUse]:
    """All versions of a tenant's credential, newest first."""
    return [CredentialInUse(*row) for row in await tx.rows(_VERSIONS, tenant_id)]


def _tenant(row: AnyRow) -> Tenant:
    return Tenant(
        row.id,
        row.slug,
        row.name,
        row.metadata,
        Limits(*(row[name] for name in _LIMITS)),
        row.suspended_at,
        row.created_at,
        row.updated_at,
    )
