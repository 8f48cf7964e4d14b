"""The portal of a tenant as staff sees it: a one-time link into it, and its look."""

from litestar import Response, post
from litestar.params import FromPath

from gateway.console.form import form_as
from gateway.console.links import TENANTS
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.core.portal.look import PortalLook
from gateway.flows.admin.portal_look import put_look
from gateway.flows.admin.sessions import link_url, make_portal_link
from gateway.flows.admin.tenants import get_tenant
from gateway.web.context import Injected
from gateway.web.schemas.requests import In
from gateway.web.schemas.session_requests import Link, ThemeMode


class PortalLinkForm(In):
    """What the person behind the link may do."""

    read_only: bool = False


class PortalLookForm(In):
    """The look in a form; origins are apart by spaces."""

    accent: str | None = None
    logo_url: Link | None = None
    mode: ThemeMode | None = None
    frame_ancestors: str = ""


@post("/tenants/{slug:str}/portal-link", status_code=200, opt={"scope": Scope.SUPPORT})
async def make_link(slug: FromPath[str], view: Injected[View]) -> Response[bytes]:
    """Make a link, and show it this once."""
    given, own = form_as(PortalLinkForm, view.form), view.signed_in
    tenant = await get_tenant(view.deps, slug)
    link = await make_portal_link(
        view.deps, tenant, key_id=own.key_id, read_only=given.read_only, who=own.who
    )
    return view.page(
        "tenancy/portal_link.html",
        slug=tenant.slug,
        back=view.at(f"{TENANTS}/{tenant.slug}"),
        url=link_url(view.deps.public_url, "portal", link.token),
        expires_at=link.expires_at,
        read_only=given.read_only,
    )


@post("/tenants/{slug:str}/portal", status_code=200, opt={"scope": Scope.ADMIN})
async def change_look(slug: FromPath[str], view: Injected[View]) -> Response[bytes]:
    """Store the look."""
    given = form_as(PortalLookForm, view.form)
    origins = tuple(given.frame_ancestors.split())
    look = PortalLook(given.accent, given.logo_url, given.mode, origins)
    await put_look(view.deps, view.signed_in.actor, slug, look)
    return view.go(view.at(f"{TENANTS}/{slug}?told=portal"))


HANDLERS = [make_link, change_look]
