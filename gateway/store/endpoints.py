"""Webhook endpoints and signing secrets."""

from uuid import UUID

from gateway.core.model import Endpoint
from gateway.store.engine import AnyRow, Tx

_COLUMNS = """id, tenant_id, url, description, events, disabled_at, disabled_reason, created_at,
  updated_at"""

_ADD = f"""
INSERT INTO endpoint (id, tenant_id, url, description, events) VALUES ($1, $2, $3, $4, $5)
RETURNING {_COLUMNS}"""

_LIST = f"""
SELECT {_COLUMNS} FROM endpoint WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY id"""

_ONE = f"""
SELECT {_COLUMNS} FROM endpoint WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL"""

_DELETE = """
UPDATE endpoint SET deleted_at = now(), updated_at = now()
WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL"""

_EXHAUST = """
UPDATE delivery SET state = 'exhausted', lease_token = NULL, completed_at = now(),
  last_error = 'the endpoint was deleted'
WHERE endpoint_id = $1 AND state IN ('pending', 'parked')"""

_KEEP = """
INSERT INTO signing_secret (id, tenant_id, endpoint_id, sealed) VALUES ($1, $2, $3, $4)"""

_NEWEST = """
SELECT id, sealed FROM signing_secret
WHERE tenant_id = $1 AND endpoint_id IS NOT DISTINCT FROM $2
  AND (expires_at IS NULL OR expires_at > now()) ORDER BY id DESC LIMIT 1"""


async def add(
    tx: Tx, endpoint_id: UUID, tenant_id: UUID, *, url: str, description: str, events: list[str]
) -> Endpoint:
    """Create an endpoint."""
    row = await tx.row(_ADD, endpoint_id, tenant_id, url, description, events)
    if row is None:
        raise RuntimeError("INSERT returned nothing")
    return _endpoint(row)


async def of_tenant(tx: Tx, tenant_id: UUID) -> list[Endpoint]:
    """The endpoints of a tenant."""
    return [_endpoint(row) for row in await tx.rows(_LIST, tenant_id)]


async def find(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """Find an endpoint."""
    row = await tx.row(_ONE, tenant_id, endpoint_id)
    return _endpoint(row) if row else None


async def delete(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> bool:
    """Delete an endpoint; what it was still owed ends as exhausted, visible in its log."""
    found = await tx.run(_DELETE, tenant_id, endpoint_id) > 0
    if found:
        await tx.run(_EXHAUST, endpoint_id)
    return found


async def add_secret(
    tx: Tx, secret_id: UUID, tenant_id: UUID, endpoint_id: UUID | None, sealed: bytes
) -> None:
    """Store a signing secret; without an endpoint it is the tenant's default."""
    await tx.run(_KEEP, secret_id, tenant_id, endpoint_id, sealed)


async def secret(tx: Tx, tenant_id: UUID, endpoint_id: UUID | None) -> tuple[UUID, bytes] | None:
    """The newest live signing secret, with its id."""
    row = await tx.row(_NEWEST, tenant_id, endpoint_id)
    return (row.id, row.sealed) if row else None


def _endpoint(row: AnyRow) -> Endpoint:
    return Endpoint(
        row.id,
        row.tenant_id,
        row.url,
        row.description,
        tuple(row.events),
        row.disabled_at,
        row.disabled_reason,
        row.created_at,
        row.updated_at,
    )
