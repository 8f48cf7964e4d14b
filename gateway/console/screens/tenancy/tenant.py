"""One tenant: what it uses of its limits, its credential, its keys, and who changed what."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, NamedTuple

from litestar import Response, get
from litestar.params import FromPath
from msgspec import Meta

from gateway.console.links import TENANTS
from gateway.console.screens.acts import Act, acts_of
from gateway.console.screens.tenancy.limit_bars import limit_bars
from gateway.console.screens.tenancy.limit_fields import LIMIT_FIELDS, LimitField
from gateway.console.screens.tenancy.tenants import tenant_pill
from gateway.console.show.states import Pill
from gateway.console.view import View
from gateway.core.model import AccessKey, Scope, Tenant
from gateway.core.policy import Policy
from gateway.core.text.cursor import PageCursor
from gateway.flows.admin.access_keys import list_keys
from gateway.flows.admin.audit import list_audit
from gateway.flows.admin.portal_look import get_look
from gateway.flows.admin.tenant_load import limits_in_force, read_load
from gateway.flows.admin.tenants import list_credentials
from gateway.store.tenancy.audit import AuditFilter
from gateway.store.tenancy.tenants import CredentialInUse
from gateway.web.context import Injected
from gateway.web.schemas.requests import In

READS = {"scope": Scope.ADMIN_READ}
_MOST_ACTS = 12
_TOLD = {
    "limits": "The limits are changed.",
    "suspended": "The tenant is suspended: its requests are refused, and its waiting jobs are held.",
    "resumed": "The tenant is resumed: its waiting jobs go on.",
    "credential": "The upstream accepted the key; new jobs are submitted with it.",
    "revoked": "The key is revoked.",
    "portal": "The look of the portal is stored.",
}


class TenantView(In):
    """What was done just now."""

    told: Annotated[str, Meta(max_length=20)] = ""


class Retention(NamedTuple):
    """How long something is kept."""

    name: str
    days: int
    is_own: bool


@get("/tenants/{slug:str}", opt=READS)
async def show_tenant(
    slug: FromPath[str], parameters: Injected[TenantView], view: Injected[View]
) -> Response[bytes]:
    """One tenant."""
    deps, now = view.deps, view.deps.clock.now()
    (tenant, load), found, credentials, keys = await asyncio.gather(
        read_load(deps, slug),
        list_audit(deps, AuditFilter(tenant=slug), PageCursor(), _MOST_ACTS),
        list_credentials(deps, slug),
        list_keys(deps, slug),
    )
    acts = acts_of(found)
    return view.page(
        "tenancy/tenant.html",
        tenant=tenant,
        pill=tenant_pill(tenant, load),
        path=view.at(f"{TENANTS}/{tenant.slug}"),
        uses=limit_bars(tenant, load, deps.policy),
        rate=limits_in_force(tenant.limits, deps.policy).rate,
        kept=_kept(tenant, deps.policy),
        limit_fields=_fields(tenant),
        credentials=[(one, _credential_pill(one, now)) for one in credentials],
        keys=[(one, key_pill(one, now)) for one in keys],
        acts=acts,
        look=await get_look(deps, slug),
        suspension=_suspension(tenant, acts),
        told=_TOLD.get(parameters.told, ""),
    )


def key_pill(key: AccessKey, now: datetime) -> Pill:
    """Whether a key may be used."""
    if key.revoked_at is not None:
        return Pill("bad", "revoked")
    if key.expires_at is not None and key.expires_at <= now:
        return Pill("waits", "expired")
    return Pill("good", "active") if key.expires_at is None else Pill("needs", "ends")


def _kept(tenant: Tenant, policy: Policy) -> list[Retention]:
    own = asdict(tenant.limits)
    return [
        Retention(
            kind,
            days if own[f"keep_{kind}"] is None else own[f"keep_{kind}"],
            own[f"keep_{kind}"] is not None,
        )
        for kind, days in policy.keep_days.items()
    ]


def _fields(tenant: Tenant) -> list[tuple[LimitField, str]]:
    own = asdict(tenant.limits)
    return [(one, "" if own[one.limit] is None else str(own[one.limit])) for one in LIMIT_FIELDS]


def _credential_pill(one: CredentialInUse, now: datetime) -> Pill:
    if one.rejected_at is not None:
        return Pill("bad", "refused")
    if one.paused_until is not None and one.paused_until > now:
        return Pill("needs", "upstream rests")
    return Pill("needs", "failing") if one.failures else Pill("good", "accepted")


def _suspension(tenant: Tenant, acts: Sequence[Act]) -> Act | None:
    """The act that suspended a tenant, with its reason, if it is among the last ones."""
    if tenant.suspended_at is None:
        return None
    return next((one for one in acts if one.entry.action == "tenant.suspended"), None)


HANDLERS = [show_tenant]
