"""One-time links into the portal of a tenant: made by its own backend, a service, or support."""

from litestar import post
from litestar.params import FromPath

from gateway.core.model import AccessKey, KeyKind, Scope, Tenant
from gateway.errors import Forbidden
from gateway.flows.admin.sessions import link_url, make_portal_link
from gateway.flows.admin.tenants import get_tenant
from gateway.flows.deps import Deps
from gateway.web.asgi.request_context import Caller
from gateway.web.auth import require_scope
from gateway.web.context import Injected
from gateway.web.schemas.responses import stamp
from gateway.web.schemas.session_requests import PortalLinkIn, ThemeIn
from gateway.web.schemas.session_responses import PortalLinkOut

_READS = frozenset({Scope.JOBS_READ, Scope.ENDPOINTS_READ, Scope.USAGE_READ})
_WRITES = frozenset({Scope.JOBS_WRITE, Scope.ENDPOINTS_WRITE})


@post(
    "/portal-link",
    opt={"scope": Scope.JOBS_READ},
    status_code=200,
    operation_id="createPortalLink",
    summary="Make a one-time link into the portal",
)
async def create_portal_link(
    payload: Injected[PortalLinkIn],
    tenant: Injected[Tenant],
    caller: Injected[Caller],
    deps: Injected[Deps],
) -> PortalLinkOut:
    """It works once, within five minutes. It gives no more than its key has: the scopes that read, and
    without `readOnly` those that write too.
    """
    _require_rights(caller.key, read_only=payload.read_only)
    return await _made(deps, tenant, payload, caller.key)


@post(
    "/tenant/{slug:str}/portal-link",
    opt={"or_scopes": (Scope.SUPPORT,)},
    status_code=200,
    operation_id="createPortalLinkOfTenant",
    summary="Make a one-time link into the portal of a tenant",
)
async def create_portal_link_of_tenant(
    slug: FromPath[str],
    payload: Injected[PortalLinkIn],
    caller: Injected[Caller],
    deps: Injected[Deps],
) -> PortalLinkOut:
    """It works once, within five minutes."""
    return await _made(deps, await get_tenant(deps, slug), payload, caller.key)


async def _made(deps: Deps, tenant: Tenant, payload: PortalLinkIn, key: AccessKey) -> PortalLinkOut:
    link = await make_portal_link(
        deps,
        tenant,
        key_id=key.key_id,
        read_only=payload.read_only,
        pages=[page.value for page in payload.pages],
        return_url=payload.return_url,
        theme=_theme(payload.theme),
        who=key.name,
    )
    return PortalLinkOut(link_url(deps.public_url, "portal", link.token), stamp(link.expires_at))


def _theme(given: ThemeIn | None) -> dict[str, str]:
    if given is None:
        return {}
    named = {"accent": given.accent, "logoUrl": given.logo_url, "mode": given.mode}
    return {name: value for name, value in named.items() if value is not None}


def _require_rights(key: AccessKey, *, read_only: bool) -> None:
    if key.kind is KeyKind.OPERATOR:
        require_scope(key, Scope.SUPPORT)
        return
    missing = (_READS if read_only else _READS | _WRITES) - key.scopes
    if missing:
        more = "" if read_only else ", or readOnly if the key only reads"
        raise Forbidden(
            "A link gives no more than its key may do. The access key lacks"
            f" {', '.join(sorted(missing))}{more}."
        )


HANDLERS = [create_portal_link]
OPERATOR_HANDLERS = [create_portal_link_of_tenant]
