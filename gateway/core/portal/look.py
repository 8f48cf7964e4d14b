"""The look of a portal: what a tenant has stored, with what a link names on top."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class PortalAccess(NamedTuple):
    """Whether this gateway serves portals, and the origins whose pages may show one in a frame."""

    is_on: bool = True
    frame_ancestors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortalLook:
    """Colours, logo and mode of a portal, and the origins whose pages may show it in a frame.

    None is the gateway's own. Without origins, those of the setting GATEWAY_PORTAL_FRAME_ANCESTORS may.
    """

    accent: str | None = None
    logo_url: str | None = None
    mode: str | None = None  # a Mode
    frame_ancestors: tuple[str, ...] = ()

    def under(self, theme: Mapping[str, str]) -> "PortalLook":
        """This look with the theme of a link, by the names of the API, on top."""
        return PortalLook(
            theme.get("accent", self.accent),
            theme.get("logoUrl", self.logo_url),
            theme.get("mode", self.mode),
            self.frame_ancestors,
        )
