"""/admin/v1: tenants and their credentials."""

from collections.abc import Callable
from urllib.parse import urlencode

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.params import FromPath
from msgspec import UNSET, Raw, UnsetType

from gateway.core.crypto.cipher import Secret
from gateway.core.model import Limits
from gateway.core.text.merge_patch import merge_patch
from gateway.flows.admin import tenants
from gateway.flows.admin.tenant_load import limits_in_force, read_load
from gateway.flows.deps import Deps
from gateway.web.asgi.request_context import Caller
from gateway.web.context import Injected
from gateway.web.parse.json_objects import read_metadata, read_object
from gateway.web.parse.large_bodies import read_large
from gateway.web.schemas.admin_responses import CredentialOut, TenantLoadOut, TenantOut
from gateway.web.schemas.requests import (
    CredentialIn,
    LimitsChange,
    LimitsIn,
    SuspensionIn,
    TenantChange,
    TenantIn,
    TenantsQuery,
)
from gateway.web.schemas.responses import Deleted

# The fields of Limits, and their names in requests.
_LIMITS = {
    "max_queued": "max_queued",
    "max_in_flight": "max_in_flight",
    "max_rate": "max_rate",
    "max_endpoints": "max_endpoints",
    "keep_payloads": "keep_payloads_days",
    "keep_jobs": "keep_jobs_days",
    "keep_attempts": "keep_attempts_days",
    "keep_events": "keep_events_days",
}


@post(
    "/tenant",
    status_code=200,
    operation_id="createTenant",
    summary="Create a tenant",
)
async def create_tenant(
    payload: Injected[TenantIn], caller: Injected[Caller], deps: Injected[Deps]
) -> TenantOut:
    """Its metadata is sent upstream with each of its jobs."""
    tenant = await tenants.create_tenant(
        deps,
        caller.key.key_id,
        slug=payload.slug,
        name=payload.name,
        metadata=read_metadata(payload.metadata)[0],
        limits=_limits(payload.limits),
        send_traceparent=payload.send_traceparent,
    )
    return TenantOut.of(tenant)


@get("/tenant", operation_id="listTenants", summary="List tenants")
async def list_tenants(
    parameters: Injected[TenantsQuery], deps: Injected[Deps]
) -> Response[list[TenantOut]]:
    """In the order of their slugs; the header Link names the next page."""
    text = parameters.text
    found = await tenants.list_tenants(
        deps, parameters.cursor or None, parameters.size + 1, text=text
    )
    page = found[: parameters.size]
    headers: dict[str, str] = {}
    if len(found) > parameters.size:
        place = {"cursor": page[-1].slug, "size": parameters.size}
        query = urlencode({**({"text": text} if text else {}), **place})
        headers["Link"] = f'<?{query}>; rel="next"'
    return Response([TenantOut.of(one) for one in page], headers=headers)


@get("/tenant/{slug:str}", operation_id="getTenant", summary="Read a tenant")
async def get_tenant(slug: FromPath[str], deps: Injected[Deps]) -> TenantOut:
    """By its slug."""
    return TenantOut.of(await tenants.get_tenant(deps, slug))


@get(
    "/tenant/{slug:str}/load",
    operation_id="getTenantLoad",
    summary="Read what a tenant uses of its limits",
)
async def get_tenant_load(slug: FromPath[str], deps: Injected[Deps]) -> TenantLoadOut:
    """Waiting jobs, jobs in flight and endpoints, each with the limit in force."""
    found = await read_load(deps, slug)
    limits = limits_in_force(found.tenant.limits, deps.policy)
    return TenantLoadOut.of(found.load, limits)


@patch(
    "/tenant/{slug:str}",
    operation_id="updateTenant",
    summary="Change a tenant",
)
async def update_tenant(
    slug: FromPath[str],
    payload: Injected[TenantChange],
    caller: Injected[Caller],
    deps: Injected[Deps],
) -> TenantOut:
    """A merge patch (RFC 7396), in limits and metadata too: what is left out stays.

    Null sets a limit to the gateway's default, and takes a key of the metadata away.
    """
    change = await read_large(len(bytes(payload.metadata)), _update, payload)
    return TenantOut.of(await tenants.change_tenant(deps, caller.key.key_id, slug, change))


@post(
    "/tenant/{slug:str}/suspend",
    status_code=200,
    operation_id="suspendTenant",
    summary="Suspend a tenant",
)
async def suspend_tenant(
    slug: FromPath[str],
    payload: Injected[SuspensionIn],
    caller: Injected[Caller],
    deps: Injected[Deps],
) -> TenantOut:
    """Its requests are refused, and its waiting jobs are held back."""
    tenant = await tenants.suspend_tenant(
        deps, caller.key.key_id, slug, suspended=True, reason=payload.reason
    )
    return TenantOut.of(tenant)


@post(
    "/tenant/{slug:str}/resume",
    status_code=200,
    operation_id="resumeTenant",
    summary="Resume a suspended tenant",
)
async def resume_tenant(
    slug: FromPath[str],
    payload: Injected[SuspensionIn],
    caller: Injected[Caller],
    deps: Injected[Deps],
) -> TenantOut:
    """Its waiting jobs are submitted again at once."""
    tenant = await tenants.suspend_tenant(
        deps, caller.key.key_id, slug, suspended=False, reason=payload.reason
    )
    return TenantOut.of(tenant)


@delete(
    "/tenant/{slug:str}",
    status_code=200,
    operation_id="deleteTenant",
    summary="Delete a tenant and all of its data",
)
async def delete_tenant(
    slug: FromPath[str], caller: Injected[Caller], deps: Injected[Deps]
) -> Deleted:
    """Deletes jobs, history, keys, credentials and endpoints."""
    tenant = await tenants.get_tenant(deps, slug)
    await tenants.delete_tenant(deps, caller.key.key_id, slug)
    return Deleted(str(tenant.id))


@put(
    "/tenant/{slug:str}/credential",
    opt={"upstream": True},
    operation_id="putCredential",
    summary="Store the upstream credential of a tenant",
)
async def put_credential(
    slug: FromPath[str],
    payload: Injected[CredentialIn],
    caller: Injected[Caller],
    deps: Injected[Deps],
) -> list[CredentialOut]:
    """It is checked with the upstream first. The response lists all versions, newest first."""
    versions = await tenants.put_credential(
        deps,
        caller.key.key_id,
        slug,
        api_key=Secret(payload.api_key),
        base_url=None if payload.base_url is None else payload.base_url.rstrip("/"),
    )
    return [CredentialOut.of(one) for one in versions]


@get(
    "/tenant/{slug:str}/credential",
    operation_id="listCredentials",
    summary="List the versions of a credential",
)
async def list_credentials(slug: FromPath[str], deps: Injected[Deps]) -> list[CredentialOut]:
    """Newest first, without the keys."""
    return [CredentialOut.of(one) for one in await tenants.list_credentials(deps, slug)]


def _limits(given: LimitsIn) -> Limits:
    return Limits(**{name: getattr(given, field) for name, field in _LIMITS.items()})


def _update(given: TenantChange) -> tenants.TenantUpdate:
    """The change that a request asks for; raises BadRequest."""
    return tenants.TenantUpdate(
        None if given.name is UNSET else given.name,
        _metadata_merge(given.metadata) if bytes(given.metadata) else None,
        _changed_limits(given.limits),
        None if given.send_traceparent is UNSET else given.send_traceparent or (),
    )


def _changed_limits(given: LimitsChange | UnsetType | None) -> dict[str, int | None]:
    """The limits that a request names; null instead of the object resets all of them."""
    if given is UNSET:
        return {}
    if given is None:
        return dict.fromkeys(_LIMITS)
    named = {name: getattr(given, field) for name, field in _LIMITS.items()}
    return {name: value for name, value in named.items() if value is not UNSET}


def _metadata_merge(raw: Raw) -> Callable[[str], str]:
    """A function that applies a merge patch to stored metadata; null removes all of it."""
    patch = None if bytes(raw) == b"null" else read_object("metadata", raw)[1]

    def merge(before: str) -> str:
        after = None if patch is None else merge_patch(msgspec.json.decode(before), patch)
        return read_metadata(Raw(msgspec.json.encode(after)))[0]

    return merge


HANDLERS = [
    create_tenant,
    list_tenants,
    get_tenant,
    get_tenant_load,
    update_tenant,
    suspend_tenant,
    resume_tenant,
    delete_tenant,
    put_credential,
    list_credentials,
]
