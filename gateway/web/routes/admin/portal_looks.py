"""/admin/v1: the look of a tenant's portal, and which pages may show it in a frame."""

from litestar import get, put
from litestar.params import FromPath

from gateway.core.portal.look import PortalLook
from gateway.flows.admin import portal_look
from gateway.flows.deps import Deps
from gateway.web.asgi.request_context import Caller
from gateway.web.context import Injected
from gateway.web.schemas.session_requests import PortalLookIn
from gateway.web.schemas.session_responses import PortalLookOut


@get(
    "/tenant/{slug:str}/portal",
    operation_id="getPortalLook",
    summary="Read the look of a tenant's portal",
)
async def get_portal_look(slug: FromPath[str], deps: Injected[Deps]) -> PortalLookOut:
    """What is null is the gateway's own."""
    return PortalLookOut.of(await portal_look.get_look(deps, slug))


@put(
    "/tenant/{slug:str}/portal",
    operation_id="putPortalLook",
    summary="Store the look of a tenant's portal",
)
async def put_portal_look(
    slug: FromPath[str],
    payload: Injected[PortalLookIn],
    caller: Injected[Caller],
    deps: Injected[Deps],
) -> PortalLookOut:
    """It holds for open sessions within seconds. What is left out is the gateway's own."""
    look = PortalLook(
        payload.accent, payload.logo_url, payload.mode, tuple(payload.frame_ancestors)
    )
    return PortalLookOut.of(await portal_look.put_look(deps, caller.key.key_id, slug, look))


HANDLERS = [get_portal_look, put_portal_look]
