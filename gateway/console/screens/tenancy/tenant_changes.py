"""What operators change of a tenant: limits, suspension, credential, its end. All of it is audited."""

from litestar import Response, post
from litestar.params import FromPath

from gateway.console.form import form_as
from gateway.console.links import TENANTS
from gateway.console.screens.tenancy.limit_fields import changed_limits
from gateway.console.view import View
from gateway.core.crypto.cipher import Secret
from gateway.core.model import Scope
from gateway.errors import BadRequest
from gateway.flows.admin import tenants
from gateway.web.context import Injected
from gateway.web.schemas.requests import CredentialIn, SuspensionIn

_WRITES = {"scope": Scope.ADMIN}


@post("/tenants/{slug:str}/limits", status_code=200, opt=_WRITES)
async def change_limits(slug: FromPath[str], view: Injected[View]) -> Response[bytes]:
    """Change the limits that differ from what the page showed."""
    change = tenants.TenantUpdate(limits=changed_limits(view.form))
    tenant = await tenants.change_tenant(view.deps, view.signed_in.actor, slug, change)
    return view.go(view.at(f"{TENANTS}/{tenant.slug}?told=limits"))


@post("/tenants/{slug:str}/suspend", status_code=200, opt=_WRITES)
async def suspend(slug: FromPath[str], view: Injected[View]) -> Response[bytes]:
    """Refuse its requests and hold its waiting jobs."""
    return await _suspend(view, slug, suspended=True)


@post("/tenants/{slug:str}/resume", status_code=200, opt=_WRITES)
async def resume(slug: FromPath[str], view: Injected[View]) -> Response[bytes]:
    """End the suspension."""
    return await _suspend(view, slug, suspended=False)


@post("/tenants/{slug:str}/credential", status_code=200, opt={**_WRITES, "upstream": True})
async def put_credential(slug: FromPath[str], view: Injected[View]) -> Response[bytes]:
    """Store a credential that the upstream accepts."""
    given = form_as(CredentialIn, view.form)
    await tenants.put_credential(
        view.deps,
        view.signed_in.actor,
        slug,
        api_key=Secret(given.api_key),
        base_url=None if given.base_url is None else given.base_url.rstrip("/"),
    )
    return view.go(view.at(f"{TENANTS}/{slug}?told=credential"))


@post("/tenants/{slug:str}/erase", status_code=200, opt=_WRITES)
async def erase(slug: FromPath[str], view: Injected[View]) -> Response[bytes]:
    """Erase the tenant with all its data, if its slug was typed."""
    tenant = await tenants.get_tenant(view.deps, slug)
    if view.form.get("confirm", "").strip() != tenant.slug:
        raise BadRequest.of("confirm", f"must be '{tenant.slug}', the slug of the tenant to erase")
    await tenants.delete_tenant(view.deps, view.signed_in.actor, tenant.slug)
    return view.go(view.at(f"{TENANTS}?told=erased"))


async def _suspend(view: View, slug: str, *, suspended: bool) -> Response[bytes]:
    reason = form_as(SuspensionIn, view.form).reason
    tenant = await tenants.suspend_tenant(
        view.deps, view.signed_in.actor, slug, suspended=suspended, reason=reason
    )
    return view.go(
        view.at(f"{TENANTS}/{tenant.slug}?told={'suspended' if suspended else 'resumed'}")
    )


HANDLERS = [change_limits, suspend, resume, put_credential, erase]
