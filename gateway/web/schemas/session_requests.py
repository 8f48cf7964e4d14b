"""Request bodies and query strings about sessions, links into the portal, and the search box."""

from typing import Annotated, Literal

from msgspec import Meta, field

from gateway.core.portal.pages import PortalPage
from gateway.flows.read.search import LONGEST
from gateway.web.schemas.requests import In, Size, Word


class PortalPageName(Word):
    """A page of the portal."""

    OVERVIEW = PortalPage.OVERVIEW
    JOBS = PortalPage.JOBS
    DELIVERIES = PortalPage.DELIVERIES
    ENDPOINTS = PortalPage.ENDPOINTS
    EVENTS = PortalPage.EVENTS
    USAGE = PortalPage.USAGE


class SessionKindName(Word):
    """Where a session is signed in to."""

    CONSOLE = "console"
    PORTAL = "portal"


Link = Annotated[str, Meta(max_length=4096, extra_json_schema={"format": "uri"})]


ThemeMode = Literal["light", "dark", "auto"]


class ThemeIn(In):
    """The look of a portal; what is left out is what the tenant has stored, or the gateway's own."""

    accent: Annotated[str, Meta(max_length=32)] | None = None
    logo_url: Link | None = None
    mode: ThemeMode | None = None


class PortalLinkIn(In):
    """What a one-time link into the portal shows; without pages it shows all."""

    read_only: bool = False
    pages: Annotated[list[PortalPageName], Meta(max_length=20)] = field(
        default_factory=list[PortalPageName]
    )
    return_url: Link | None = None
    theme: ThemeIn | None = None


class PortalLookIn(ThemeIn):
    """The look of a tenant's portal, and the origins whose pages may show it in a frame."""

    frame_ancestors: Annotated[list[Annotated[str, Meta(max_length=300)]], Meta(max_length=20)] = (
        field(default_factory=list[str])
    )


class SearchQuery(In):
    """What to look up."""

    q: Annotated[str, Meta(min_length=1, max_length=LONGEST)]


class SessionsQuery(In):
    """Which sessions to list."""

    tenant: str = ""
    kind: SessionKindName | None = None
    cursor: str = ""
    size: Size = 100
