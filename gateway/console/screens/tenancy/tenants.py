"""Tenants: the list, found by a part of the name."""

from typing import Annotated

from litestar import Response, get
from msgspec import Meta

from gateway.console.links import with_changes
from gateway.console.show.states import Pill
from gateway.console.view import View
from gateway.core.model import Scope, Tenant
from gateway.flows.admin.tenant_load import ListedTenant, list_loads
from gateway.store.tenancy.load import TenantLoad
from gateway.web.context import Injected
from gateway.web.schemas.requests import In

_SIZE = 50
_TOLD = {"erased": "The tenant and all of its data are erased. Its usage is kept without its name."}
_CREDENTIALS = {
    "ok": Pill("good", "active"),
    "none": Pill("needs", "no credential"),
    "refused": Pill("bad", "credential refused"),
    "paused": Pill("needs", "upstream rests"),
}


class TenantsView(In):
    """Which tenants the list shows; the cursor is the last slug of the page before."""

    text: Annotated[str, Meta(max_length=200)] = ""
    cursor: Annotated[str, Meta(max_length=63)] = ""
    told: Annotated[str, Meta(max_length=20)] = ""


@get("/tenants", opt={"scope": Scope.ADMIN_READ})
async def show_tenants(parameters: Injected[TenantsView], view: Injected[View]) -> Response[bytes]:
    """One page of tenants, by their slugs."""
    text = parameters.text.strip()
    found = await list_loads(view.deps, text, parameters.cursor or None, _SIZE + 1)
    page = found[:_SIZE]
    return view.page(
        "tenancy/tenants.html",
        rows=[(one.tenant, one.load, tenant_pill(*one)) for one in page],
        text=text,
        first=with_changes(view) if parameters.cursor else "",
        more=with_changes(view, cursor=_last(page)) if len(found) > _SIZE else "",
        told=_TOLD.get(parameters.told, ""),
    )


def tenant_pill(tenant: Tenant, load: TenantLoad) -> Pill:
    """Whether a tenant's jobs may go on."""
    return Pill("person", "suspended") if tenant.suspended_at else _CREDENTIALS[load.credential]


def _last(page: list[ListedTenant]) -> str:
    return page[-1].tenant.slug


HANDLERS = [show_tenants]
