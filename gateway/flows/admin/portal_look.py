"""The look of a portal as a link or a tenant names it: checked before it is stored, as pages show it as it is.

Callers are told every fault at once.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast, get_args

from gateway.config.origins import why_no_frame_ancestor
from gateway.core.portal.accent import Mode, why_no_accent
from gateway.core.portal.addresses import (
    why_no_logo_url,
    why_no_return_url,
)
from gateway.core.portal.look import PortalLook
from gateway.core.portal.pages import PortalPage
from gateway.errors import BadRequest, FieldError
from gateway.flows.admin import audit
from gateway.flows.admin.tenants import get_tenant
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deps import Deps
from gateway.store.tenancy import portal_looks, tenants

_Reasons = Mapping[str, str | None]
_MODES = get_args(Mode)
_FIELDS = ("accent", "logoUrl", "mode")


class PortalLinkLook(NamedTuple):
    """Which pages a portal shows (empty: all), and its theme."""

    pages: list[str]
    theme: dict[str, str]


def portal_look(
    pages: Sequence[str], return_url: str | None, theme: Mapping[str, str]
) -> PortalLinkLook:
    """The pages and the theme to store; raises BadRequest that names every fault."""
    reasons = {
        "pages": _why_no_pages(pages),
        "returnUrl": None if return_url is None else why_no_return_url(return_url),
        "theme": _why_no_theme(theme),
    }
    _refuse({**reasons, **_why_no_parts("theme.", theme)})
    return PortalLinkLook(list(dict.fromkeys(pages)), dict(theme))


async def get_look(deps: Deps, slug: str) -> PortalLook:
    """What a tenant has stored; raises NotFound."""
    tenant = await get_tenant(deps, slug)
    async with deps.db.single() as tx:
        return await portal_looks.find(tx, tenant.id)


@retry_on_deadlock
async def put_look(deps: Deps, actor: str, slug: str, look: PortalLook) -> PortalLook:
    """Store how the portal of a tenant looks; raises NotFound, and BadRequest that names every fault."""
    named = {"accent": look.accent, "logoUrl": look.logo_url, "mode": look.mode}
    theme = {name: value for name, value in named.items() if value is not None}
    origins = {
        f"frameAncestors[{place}]": why_no_frame_ancestor(origin)
        for place, origin in enumerate(look.frame_ancestors)
    }
    _refuse({**_why_no_parts("", theme), **origins})
    tenant = await get_tenant(deps, slug)
    async with deps.db.begin() as tx:
        await tenants.lock(tx, tenant.id)
        before = await portal_looks.find(tx, tenant.id)
        await portal_looks.put(tx, tenant.id, look)
        if changed := audit.changes(_audited(before), _audited(look)):
            await audit.note(
                tx, deps, actor, "portal.changed", slug, tenant_id=tenant.id, changes=changed
            )
    deps.queue.announce(f"tenant:{slug}")
    deps.sessions.hear(f"tenant:{slug}")
    return look


def _audited(look: PortalLook) -> dict[str, object]:
    return {
        "accent": look.accent,
        "logoUrl": look.logo_url,
        "mode": look.mode,
        "frameAncestors": list(look.frame_ancestors),
    }


def _refuse(reasons: _Reasons) -> None:
    """Raise BadRequest if there is a reason."""
    faults = [FieldError(field, reason) for field, reason in reasons.items() if reason]
    if faults:
        raise BadRequest("; ".join(f"{one.field}: {one.reason}" for one in faults), errors=faults)


def _why_no_parts(prefix: str, theme: Mapping[str, str]) -> _Reasons:
    """Why each part of a theme is refused."""
    mode = theme.get("mode", "auto")
    return {
        f"{prefix}mode": None if mode in _MODES else f"must be one of {', '.join(_MODES)}",
        f"{prefix}accent": _why_no_accent(theme, mode),
        f"{prefix}logoUrl": why_no_logo_url(theme["logoUrl"]) if "logoUrl" in theme else None,
    }


def _why_no_pages(pages: Sequence[str]) -> str | None:
    known = [page.value for page in PortalPage]
    return None if set(pages) <= set(known) else f"may name {', '.join(known)}"


def _why_no_theme(theme: Mapping[str, str]) -> str | None:
    return None if set(theme) <= set(_FIELDS) else f"may have {', '.join(_FIELDS)}"


def _why_no_accent(theme: Mapping[str, str], mode: str) -> str | None:
    if "accent" not in theme or mode not in _MODES:
        return None
    return why_no_accent(theme["accent"], cast("Mode", mode))
