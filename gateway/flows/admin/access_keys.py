"""Administration of access keys: create, rotate, revoke.

It runs when an operator asks, by API or CLI. Only a digest of a key is stored, so its text is shown
once. Each act and its audit entry are one transaction. A revoked key ends at once: processes hear of
it by a wake-up, or within the short lifetime of their cache.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from gateway.core.crypto.access_keys import KEY_ID_BYTES, SECRET_BYTES, make_key
from gateway.core.events import instant
from gateway.core.model import AccessKey, KeyKind, Scope
from gateway.core.roles import OPERATOR_SCOPES, Role, scopes_of, with_implied
from gateway.errors import BadRequest, Conflict, NotFound
from gateway.flows.admin import audit
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deps import Deps
from gateway.store.database import Tx
from gateway.store.tenancy import access_keys, tenants

_TENANT_SCOPES = frozenset(Scope) - OPERATOR_SCOPES
SCOPES: dict[KeyKind, frozenset[Scope]] = {
    KeyKind.TENANT: _TENANT_SCOPES,
    KeyKind.SERVICE: _TENANT_SCOPES,
    KeyKind.OPERATOR: OPERATOR_SCOPES,
}


@retry_on_deadlock
async def create_key(
    deps: Deps,
    actor: str,
    *,
    kind: KeyKind,
    name: str,
    tenant: str | None = None,
    allowed_tenants: Sequence[str] | None = None,
    scopes: frozenset[str] | None = None,
    role: Role | None = None,
    expires_seconds: float | None = None,
) -> tuple[AccessKey, str]:
    """Issue a key; returns it and its text, which is shown only here.

    Without `scopes` and `role` it has all scopes of its kind. Raises NotFound, BadRequest.
    """
    granted = _scopes(kind, scopes) if role is None else _scopes_of(role, kind, scopes)
    if kind is KeyKind.OPERATOR and allowed_tenants is not None:
        raise BadRequest.of("tenants", "an operator key is for all tenants; leave this out")
    async with deps.db.begin() as tx:
        tenant_id = await _tenant_id(tx, tenant) if tenant is not None else None
        allowed = await _allowed(tx, allowed_tenants) if allowed_tenants is not None else None
        key, text = _new(deps, kind, name, granted, expires_seconds, (tenant_id, allowed))
        stored = await access_keys.add(tx, key)
        detail = {
            "kind": kind.value,
            "name": name,
            "scopes": sorted(granted),
            "tenants": allowed_tenants,
            "expiresAt": instant(key.expires_at)[1:-1] if key.expires_at else None,
        }
        await audit.note(tx, deps, actor, "key.created", key.key_id, tenant_id=tenant_id, **detail)
    return stored, text


@retry_on_deadlock
async def rotate_key(
    deps: Deps, actor: str, key_id: str, *, overlap_seconds: float
) -> tuple[AccessKey, str]:
    """Issue a key like an old one, with the same lifetime; the old one ends after the overlap.

    Raises NotFound, and Conflict if the old key is revoked.
    """
    async with deps.db.begin() as tx:
        old = await access_keys.find(tx, key_id)
        if old is None:
            raise NotFound(f"There is no key {key_id}.")
        if await access_keys.expire(tx, key_id, overlap_seconds) is None:
            raise Conflict(f"The key {key_id} is revoked. Create a new one instead.")
        owner = (old.tenant_id, old.tenants)
        key, text = _new(deps, old.kind, old.name, old.scopes, _lifetime(old), owner)
        stored = await access_keys.add(tx, key)
        detail = {"name": old.name, "successor": key.key_id, "overlapSeconds": overlap_seconds}
        await audit.note(tx, deps, actor, "key.rotated", key_id, tenant_id=old.tenant_id, **detail)
    deps.queue.announce(f"key:{key_id}")
    return stored, text


@retry_on_deadlock
async def revoke_key(deps: Deps, actor: str, key_id: str) -> AccessKey:
    """End a key at once, in all processes; raises NotFound."""
    async with deps.db.begin() as tx:
        key = await access_keys.revoke(tx, key_id)
        if key is None:
            raise NotFound(f"There is no key {key_id}.")
        detail = {"kind": key.kind.value, "name": key.name}
        await audit.note(tx, deps, actor, "key.revoked", key_id, tenant_id=key.tenant_id, **detail)
    deps.queue.announce(f"key:{key_id}")
    return key


async def list_keys(deps: Deps, tenant: str | None) -> list[AccessKey]:
    """The keys of a tenant by its slug, or service and operator keys for None; raises NotFound."""
    async with deps.db.single() as tx:
        tenant_id = None if tenant is None else await _tenant_id(tx, tenant)
        return await access_keys.of_tenant(tx, tenant_id)


def _lifetime(key: AccessKey) -> float | None:
    return (key.expires_at - key.created_at).total_seconds() if key.expires_at else None


def _scopes(kind: KeyKind, wanted: frozenset[str] | None) -> frozenset[str]:
    allowed: frozenset[str] = SCOPES[kind]
    excess = (wanted or frozenset()) - allowed
    if excess:
        raise BadRequest.of("scopes", f"a {kind.value} key cannot have {', '.join(sorted(excess))}")
    granted = allowed if wanted is None else wanted
    return with_implied(granted) if kind is KeyKind.OPERATOR else granted


def _scopes_of(role: Role, kind: KeyKind, scopes: frozenset[str] | None) -> frozenset[str]:
    if kind is not KeyKind.OPERATOR:
        raise BadRequest.of("role", f"is for operator keys; a {kind.value} key takes scopes")
    if scopes is not None:
        raise BadRequest.of("role", "cannot be combined with scopes; it stands for scopes itself")
    return scopes_of(role)


Owner = tuple[UUID | None, frozenset[UUID] | None]


def _new(  # noqa: PLR0917 - the parts of a key
    deps: Deps,
    kind: KeyKind,
    name: str,
    scopes: frozenset[str],
    expires_seconds: float | None,
    owner: Owner,
) -> tuple[AccessKey, str]:
    made = make_key(deps.ids.random_bytes(KEY_ID_BYTES), deps.ids.random_bytes(SECRET_BYTES))
    now = deps.clock.now()
    key = AccessKey(
        id=deps.ids.uuid(),
        key_id=made.key_id,
        kind=kind,
        tenant_id=owner[0],
        tenants=owner[1],
        name=name,
        scopes=scopes,
        digest=made.digest,
        created_at=now,
        expires_at=None if expires_seconds is None else now + timedelta(seconds=expires_seconds),
        revoked_at=None,
        last_used_at=None,
    )
    return key, made.text


async def _tenant_id(tx: Tx, slug: str) -> UUID:
    tenant = await tenants.by_slug(tx, slug)
    if tenant is None:
        raise NotFound(f"There is no tenant '{slug}'.")
    return tenant.id


async def _allowed(tx: Tx, slugs: Sequence[str]) -> frozenset[UUID]:
    found = await tenants.ids_of(tx, slugs)
    for slug in slugs:
        if slug not in found:
            raise BadRequest.of("tenants", f"there is no tenant '{slug}'")
    return frozenset(found.values())
