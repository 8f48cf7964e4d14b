"""Access keys."""

from collections.abc import Sequence
from uuid import UUID

from gateway.core.model import AccessKey, KeyKind
from gateway.store.database import AnyRow, Tx

_COLUMNS = """id, key_id, kind, tenant_id, tenants, name, scopes, digest, created_at, expires_at,
  revoked_at, last_used_at"""

_ADD = f"""
INSERT INTO access_key (id, key_id, kind, tenant_id, tenants, name, scopes, digest, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING {_COLUMNS}"""

_LIST = f"""
SELECT {_COLUMNS} FROM access_key
WHERE CASE WHEN $1::uuid IS NULL THEN tenant_id IS NULL ELSE tenant_id = $1 END ORDER BY id"""

_REVOKE = f"""
UPDATE access_key SET revoked_at = COALESCE(revoked_at, now()) WHERE key_id = $1
RETURNING {_COLUMNS}"""

_EXPIRE = f"""
UPDATE access_key SET expires_at = LEAST(expires_at, now() + $2 * interval '1 second')
WHERE key_id = $1 AND revoked_at IS NULL RETURNING {_COLUMNS}"""

_USED = """
UPDATE access_key SET last_used_at = now() WHERE key_id = ANY($1::text[])
  AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')"""


async def add(tx: Tx, key: AccessKey) -> AccessKey:
    """Store a new key."""
    row = await tx.one(
        _ADD,
        key.id,
        key.key_id,
        key.kind.value,
        key.tenant_id,
        list(key.tenants) if key.tenants is not None else None,
        key.name,
        sorted(key.scopes),
        key.digest,
        key.expires_at,
    )
    return _key(row)


async def find(tx: Tx, key_id: str) -> AccessKey | None:
    """Find a key by its public id, whatever became of it."""
    row = await tx.row(f"SELECT {_COLUMNS} FROM access_key WHERE key_id = $1", key_id)
    return _key(row) if row else None


async def of_tenant(tx: Tx, tenant_id: UUID | None) -> list[AccessKey]:
    """The keys of a tenant; those of no tenant when None is given."""
    return [_key(row) for row in await tx.rows(_LIST, tenant_id)]


async def revoke(tx: Tx, key_id: str) -> AccessKey | None:
    """End a key at once."""
    row = await tx.row(_REVOKE, key_id)
    return _key(row) if row else None


async def expire(tx: Tx, key_id: str, seconds: float) -> AccessKey | None:
    """Let a key end after so many seconds."""
    row = await tx.row(_EXPIRE, key_id, seconds)
    return _key(row) if row else None


async def used(tx: Tx, key_ids: Sequence[str]) -> None:
    """Note that keys were used, to the minute."""
    await tx.run(_USED, sorted(key_ids))


def _key(row: AnyRow) -> AccessKey:
    return AccessKey(
        id=row.id,
        key_id=row.key_id,
        kind=KeyKind(row.kind),
        tenant_id=row.tenant_id,
        tenants=None if row.tenants is None else frozenset(row.tenants),
        name=row.name,
        scopes=frozenset(row.scopes),
        digest=row.digest,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
