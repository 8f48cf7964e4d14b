"""Responses about sessions, links into the portal, and the search box."""

from typing import Annotated, Self

from msgspec import Meta

from gateway.core.portal.look import PortalLook
from gateway.flows.admin.sessions import Session
from gateway.flows.read.search import Hit
from gateway.web.schemas.admin_responses import RoleText
from gateway.web.schemas.responses import Id, Out, Time, one_of, stamp
from gateway.web.schemas.session_requests import PortalPageName, SessionKindName

SessionKindText = Annotated[str, Meta(extra_json_schema=one_of(SessionKindName))]
PageText = Annotated[str, Meta(extra_json_schema=one_of(PortalPageName))]
HitKind = Annotated[
    str, Meta(extra_json_schema={"enum": ["job", "batch", "event", "delivery", "tenant"]})
]


class SessionOut(Out):
    """Somebody who is signed in to the console, or let in to the portal of a tenant."""

    id: Id
    kind: SessionKindText
    role: RoleText
    who: str
    key_id: str | None
    tenant: str | None
    pages: list[PageText]
    address: str | None
    created_at: Time
    last_seen_at: Time
    expires_at: Time

    @classmethod
    def of(cls, session: Session) -> Self:
        """The response for a session."""
        return cls(
            str(session.id),
            session.kind,
            session.role,
            session.who,
            session.key_id,
            session.tenant.slug if session.tenant else None,
            list(session.pages),
            session.address,
            stamp(session.created_at),
            stamp(session.last_seen_at),
            stamp(session.expires_at),
        )


class PortalLinkOut(Out):
    """A one-time link into the portal."""

    url: Annotated[str, Meta(extra_json_schema={"format": "uri-reference"})]
    expires_at: Time


class PortalLookOut(Out):
    """The look of a tenant's portal, and the origins whose pages may show it in a frame."""

    accent: str | None
    logo_url: str | None
    mode: str | None
    frame_ancestors: list[str]

    @classmethod
    def of(cls, look: PortalLook) -> Self:
        """The response for a look."""
        return cls(look.accent, look.logo_url, look.mode, list(look.frame_ancestors))


class HitOut(Out):
    """One thing that was found."""

    kind: HitKind
    id: str
    tenant: str
    label: str
    path: Annotated[str, Meta(extra_json_schema={"format": "uri-reference"})]

    @classmethod
    def of(cls, hit: Hit) -> Self:
        """The response for a hit."""
        return cls(hit.kind, hit.id, hit.tenant, hit.label, hit.path)
