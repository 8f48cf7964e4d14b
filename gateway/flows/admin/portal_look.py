"""The look of a portal as a link names it: checked before it is stored, because pages show it as it is.

Callers are told every fault at once. It stores nothing and calls nobody.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast, get_args

from gateway.core.portal.accent import Mode, why_no_accent
from gateway.core.portal.addresses import why_no_logo_url, why_no_return_url
from gateway.core.portal.pages import PortalPage
from gateway.errors import BadRequest, FieldError

_MODES = get_args(Mode)
_FIELDS = ("accent", "logoUrl", "mode")


class PortalLook(NamedTuple):
    """Which pages a portal shows (empty: all), and its theme with its mode filled in."""

    pages: list[str]
    theme: dict[str, str]


def portal_look(
    pages: Sequence[str], return_url: str | None, theme: Mapping[str, str]
) -> PortalLook:
    """The pages and the theme to store; raises BadRequest that names every fault."""
    mode = theme.get("mode", "auto")
    reasons = {
        "pages": _why_no_pages(pages),
        "returnUrl": None if return_url is None else why_no_return_url(return_url),
        "theme": _why_no_theme(theme),
        "theme.mode": None if mode in _MODES else f"must be one of {', '.join(_MODES)}",
        "theme.accent": _why_no_accent(theme, mode),
        "theme.logoUrl": why_no_logo_url(theme["logoUrl"]) if "logoUrl" in theme else None,
    }
    faults = [FieldError(field, reason) for field, reason in reasons.items() if reason]
    if faults:
        raise BadRequest("; ".join(f"{one.field}: {one.reason}" for one in faults), errors=faults)
    return PortalLook(list(dict.fromkeys(pages)), {**theme, "mode": mode})


def _why_no_pages(pages: Sequence[str]) -> str | None:
    known = [page.value for page in PortalPage]
    return None if set(pages) <= set(known) else f"may name {', '.join(known)}"


def _why_no_theme(theme: Mapping[str, str]) -> str | None:
    return None if set(theme) <= set(_FIELDS) else f"may have {', '.join(_FIELDS)}"


def _why_no_accent(theme: Mapping[str, str], mode: str) -> str | None:
    if "accent" not in theme or mode not in _MODES:
        return None
    return why_no_accent(theme["accent"], cast("Mode", mode))
