"""Tenants and their credentials for the upstream."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Credential, Limits, Tenant
from gateway.store.engine import AnyRow, Tx

_COLUMNS = """id, slug, name, metadata, max_queued, max_in_flight, suspended_at, created_at,
  updated_at"""

_ADD = f"""
INSERT INTO tenant (id, slug, name, metadata, max_queued, max_in_flight)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (slug) DO NOTHING RETURNING {_COLUMNS}"""

_CHANGE = f"""
UPDATE tenant SET name = $2, metadata = $3, max_queued = $4, max_in_flight = $5, updated_at = now()
WHERE id = $1 RETURNING {_COLUMNS}"""

_SUSPEND = f"""
UPDATE tenant SET suspended_at = CASE WHEN $2 THEN COALESCE(suspended_at, now()) END,
  updated_at = now() WHERE id = $1 RETURNING {_COLUMNS}"""

_PAGE = f"""
SELECT {_COLUMNS} FROM tenant WHERE ($1::text IS NULL OR slug > $1) ORDER BY slug LIMIT $2"""

# Everything of a tenant but its usage, children first.
_ERASE = (
    "DELETE FROM attempt WHERE tenant_id = $1",
    "DELETE FROM delivery WHERE tenant_id = $1",
    "DELETE FROM event WHERE tenant_id = $1",
    "DELETE FROM job_event WHERE tenant_id = $1",
    "DELETE FROM job WHERE tenant_id = $1",
    "DELETE FROM signing_secret WHERE tenant_id = $1",
    "DELETE FROM endpoint WHERE tenant_id = $1",
    "DELETE FROM access_key WHERE tenant_id = $1",
    "DELETE FROM credential WHERE tenant_id = $1",
    "DELETE FROM usage_hour WHERE tenant_id = $1",
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
    row = await tx.row(
        _ADD, tenant_id, slug, name, metadata, limits.max_queued, limits.max_in_flight
    )
    return _tenant(row) if row else None


async def change(
    tx: Tx, tenant_id: UUID, *, name: str, metadata: str, limits: Limits
) -> Tenant | None:
    """Replace what may change of a tenant."""
    row = await tx.row(_CHANGE, tenant_id, name, metadata, limits.max_queued, limits.max_in_flight)
    return _tenant(row) if row else None


async def suspend(tx: Tx, tenant_id: UUID, *, suspended: bool) -> Tenant | None:
    """Suspend a tenant or let it go on."""
    row = await tx.row(_SUSPEND, tenant_id, suspended)
    return _tenant(row) if row else None


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
    row = await tx.row(_ADD_CREDENTIAL, credential_id, tenant_id, version, base_url, sealed)
    if row is None:
        raise RuntimeError("INSERT returned nothing")
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
        Limits(row.max_queued, row.max_in_flight),
        row.suspended_at,
        row.created_at,
        row.updated_at,
    )
