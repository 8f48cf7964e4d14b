"""/admin/v1: access keys."""

from collections.abc import Sequence
from uuid import UUID

from litestar import delete, get, post
from litestar.params import FromPath

from gateway.core.model import AccessKey, KeyKind
from gateway.core.roles import Role
from gateway.errors import NotFound
from gateway.flows.accept.authenticate import Authenticator
from gateway.flows.admin import access_keys
from gateway.web.asgi.request_context import Caller
from gateway.web.context import Context, Injected
from gateway.web.schemas.admin_responses import KeyMade, KeyOut
from gateway.web.schemas.requests import KeyIn, RotationIn, TenantKeyIn


def _scopes(named: Sequence[str] | None) -> frozenset[str] | None:
    return None if named is None else frozenset(named)


async def owners(
    identities: Authenticator, key: AccessKey
) -> tuple[str | None, Sequence[str] | None]:
    """The slug of a key's tenant, and of the tenants it may act for, without deleted ones."""
    own = await _slugs(identities, [key.tenant_id] if key.tenant_id else [])
    allowed = None if key.tenants is None else await _slugs(identities, sorted(key.tenants))
    return next(iter(own), None), allowed


async def _slugs(identities: Authenticator, tenant_ids: Sequence[UUID]) -> list[str]:
    slugs: list[str] = []
    for tenant_id in tenant_ids:
        try:
            slugs.append((await identities.tenant_by_id(tenant_id)).tenant.slug)
        except NotFound:
            continue
    return slugs


async def _shown(context: Context, key: AccessKey) -> KeyOut:
    return KeyOut.of(key, *await owners(context.identities, key))


async def _made(context: Context, made: tuple[AccessKey, str]) -> KeyMade:
    key, text = made
    return KeyMade.of(key, *await owners(context.identities, key), access_key=text)


@post(
    "/tenant/{slug:str}/key",
    status_code=200,
    operation_id="createTenantKey",
    summary="Issue a key",
)
async def create_tenant_key(
    slug: FromPath[str],
    payload: Injected[TenantKeyIn],
    caller: Injected[Caller],
    context: Injected[Context],
) -> KeyMade:
    """For one tenant. The key itself is shown only in this response."""
    made = await access_keys.create_key(
        context.deps,
        caller.key.key_id,
        kind=KeyKind.TENANT,
        name=payload.name,
        tenant=slug,
        scopes=_scopes(payload.scopes),
        expires_seconds=payload.expires_seconds,
    )
    return await _made(context, made)


@get("/tenant/{slug:str}/key", operation_id="listTenantKeys", summary="List the keys of a tenant")
async def list_tenant_keys(slug: FromPath[str], context: Injected[Context]) -> list[KeyOut]:
    """Without the keys themselves."""
    found = await access_keys.list_keys(context.deps, slug)
    return [await _shown(context, key) for key in found]


@post(
    "/key",
    status_code=200,
    operation_id="createKey",
    summary="Issue a service or operator key",
)
async def create_key(
    payload: Injected[KeyIn], caller: Injected[Caller], context: Injected[Context]
) -> KeyMade:
    """A service key without tenants may act for all. The key itself is shown only in this response."""
    made = await access_keys.create_key(
        context.deps,
        caller.key.key_id,
        kind=KeyKind(payload.kind),
        name=payload.name,
        allowed_tenants=payload.tenants,
        scopes=_scopes(payload.scopes),
        role=None if payload.role is None else Role(payload.role.value),
        expires_seconds=payload.expires_seconds,
    )
    return await _made(context, made)


@get("/key", operation_id="listKeys", summary="List service and operator keys")
async def list_keys(context: Injected[Context]) -> list[KeyOut]:
    """Without the keys themselves."""
    found = await access_keys.list_keys(context.deps, None)
    return [await _shown(context, key) for key in found]


@post(
    "/key/{key_id:str}/rotate",
    status_code=200,
    operation_id="rotateKey",
    summary="Rotate a key",
)
async def rotate_key(
    key_id: FromPath[str],
    payload: Injected[RotationIn],
    caller: Injected[Caller],
    context: Injected[Context],
) -> KeyMade:
    """Issues a new key with the same rights; the old one expires after the overlap."""
    made = await access_keys.rotate_key(
        context.deps, caller.key.key_id, key_id, overlap_seconds=payload.overlap_seconds
    )
    return await _made(context, made)


@delete(
    "/key/{key_id:str}", status_code=200, operation_id="revokeKey", summary="Revoke a key at once"
)
async def revoke_key(
    key_id: FromPath[str], caller: Injected[Caller], context: Injected[Context]
) -> KeyOut:
    """All processes refuse it within seconds; it stays in the list."""
    return await _shown(
        context, await access_keys.revoke_key(context.deps, caller.key.key_id, key_id)
    )


HANDLERS = [
    create_tenant_key,
    list_tenant_keys,
    create_key,
    list_keys,
    rotate_key,
    revoke_key,
]
