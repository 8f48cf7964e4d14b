"""Access keys: of tenants, of services, and of operators. Only a digest of each key is stored."""

from collections.abc import Sequence
from uuid import UUID

from gateway.core.model import AccessKey, KeyKind
from gateway.core.roles import with_implied
from gateway.store.database import AnyRow, Tx
from gateway.store.statement import Query, Statement

_COLUMNS = """id, key_id, kind, tenant_id, tenants, name, scopes, digest, created_at, expires_at,
  revoked_at, last_used_at"""


def _key(row: AnyRow) -> AccessKey:
    kind, scopes = KeyKind(row.kind), frozenset(row.scopes)
    return AccessKey(
        id=row.id,
        key_id=row.key_id,
        kind=kind,
        tenant_id=row.tenant_id,
        tenants=None if row.tenants is None else frozenset(row.tenants),
        name=row.name,
        # Keys from before there were roles are stored without the scopes that theirs includes.
        scopes=with_implied(scopes) if kind is KeyKind.OPERATOR else scopes,
        digest=row.digest,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )


_ADD = Query(
    f"""
INSERT INTO access_key (id, key_id, kind, tenant_id, tenants, name, scopes, digest, expires_at)
VALUES (:id, :key_id, :kind, :tenant_id, :tenants, :name, :scopes, :digest, :expires_at)
RETURNING {_COLUMNS}""",
    AccessKey,
    _key,
)

_BY_KEY_ID = Query(f"SELECT {_COLUMNS} FROM access_key WHERE key_id = :key_id", AccessKey, _key)

_OF_TENANT = Query(
    f"""
SELECT {_COLUMNS} FROM access_key WHERE CASE WHEN :tenant_id::uuid IS NULL THEN tenant_id IS NULL
  ELSE tenant_id = :tenant_id END ORDER BY id""",
    AccessKey,
    _key,
)

_REVOKE = Query(
    f"""
UPDATE access_key SET revoked_at = COALESCE(revoked_at, now()) WHERE key_id = :key_id
RETURNING {_COLUMNS}""",
    AccessKey,
    _key,
)

_EXPIRE = Query(
    f"""
UPDATE access_key SET expires_at = LEAST(expires_at, now() + :seconds * interval '1 second')
WHERE key_id = :key_id AND revoked_at IS NULL RETURNING {_COLUMNS}""",
    AccessKey,
    _key,
)

_USED = Statement(
    """
UPDATE access_key SET last_used_at = now() WHERE key_id = ANY(:key_ids::text[])
  AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')"""
)


async def add(tx: Tx, key: AccessKey) -> AccessKey:
    """Store a new key."""
    return await _ADD.one(
        tx,
        id=key.id,
        key_id=key.key_id,
        kind=key.kind.value,
        tenant_id=key.tenant_id,
        tenants=None if key.tenants is None else list(key.tenants),
        name=key.name,
        scopes=sorted(key.scopes),
        digest=key.digest,
        expires_at=key.expires_at,
    )


async def find(tx: Tx, key_id: str) -> AccessKey | None:
    """Find a key by its public id, also one that is revoked or expired."""
    return await _BY_KEY_ID.row(tx, key_id=key_id)


async def of_tenant(tx: Tx, tenant_id: UUID | None) -> list[AccessKey]:
    """The keys of a tenant, oldest first; with None those that belong to no tenant."""
    return await _OF_TENANT.rows(tx, tenant_id=tenant_id)


async def revoke(tx: Tx, key_id: str) -> AccessKey | None:
    """End a key at once."""
    return await _REVOKE.row(tx, key_id=key_id)


async def expire(tx: Tx, key_id: str, seconds: float) -> AccessKey | None:
    """Let a key end after so many seconds, unless it ends sooner; None if it is revoked."""
    return await _EXPIRE.row(tx, key_id=key_id, seconds=seconds)


async def used(tx: Tx, key_ids: Sequence[str]) -> None:
    """Record that keys were used, to the minute; in the order of their ids, against deadlocks."""
    await _USED.run(tx, key_ids=sorted(key_ids))
