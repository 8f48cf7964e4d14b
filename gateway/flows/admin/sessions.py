"""Sessions of people: signed in to the console with an operator key or elsewhere, or let in by a one-time link.

A link makes a session of the console (role) or of the portal (tenant), once and within five minutes. A
session ends after twelve hours, after an hour without use, when somebody ends it, and with the access
key or the tenant that it depends on: processes hear of that by a wake-up, or within five seconds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import urlencode
from uuid import UUID

from gateway.core.crypto.session_tokens import (
    LINK,
    SESSION,
    STATE,
    TOKEN_BYTES,
    NewToken,
    TokenKind,
    csrf_token,
    digest_of,
    make_token,
)
from gateway.core.events import instant
from gateway.core.model import KeyKind, Tenant
from gateway.core.portal.look import PortalLook
from gateway.core.roles import Role, role_of
from gateway.errors import Conflict, Forbidden, RateLimited, TenantSuspended, Unauthorized
from gateway.flows.accept.authenticate import Authenticator
from gateway.flows.admin import audit
from gateway.flows.admin.portal_look import portal_look
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deps import Deps
from gateway.flows.process.session_memory import KnownSession
from gateway.store.database import Tx
from gateway.store.tenancy import portal_looks, sessions, tenants
from gateway.store.tenancy.sessions import Grant, SessionFilter, StoredLink, StoredSession

SessionKind = Literal["console", "portal"]
PATHS: Mapping[SessionKind, str] = {"console": "/console/link", "portal": "/portal/link"}

_LIFETIME = timedelta(hours=12)
_IDLE = timedelta(hours=1)
_LINK_LIFETIME = timedelta(minutes=5)
_NOTE_USE = timedelta(minutes=1)
# Attempts a second of one address. Keys and tokens cannot be guessed; this is against a flood.
_SIGN_INS = 5
_REDEEMS = 20


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is let in: to the console with a role, or to the portal of one tenant."""

    id: UUID
    kind: SessionKind
    role: Role
    who: str
    key_id: str | None
    tenant: Tenant | None
    csrf_token: str  # empty in lists
    pages: tuple[str, ...]
    return_url: str | None
    look: PortalLook
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    address: str | None

    @property
    def actor(self) -> str:
        """Who acts, for the audit: the id of the key, or the name where there is none."""
        return self.key_id or self.who


class Person(NamedTuple):
    """Somebody whom an identity provider knows: with a name, and the subject that stays when it changes."""

    name: str
    role: Role
    issuer: str
    subject: str


class PortalLink(NamedTuple):
    """A one-time link into the portal."""

    token: str
    expires_at: datetime


async def sign_in(deps: Deps, key_text: str, address: str | None) -> tuple[Session, str]:
    """Open a session of the console with an operator key; returns it and its token.

    Raises Unauthorized, Forbidden, RateLimited.
    """
    await count_sign_in(deps, address)
    key = await Authenticator(deps).identify(key_text.strip())
    role = role_of(key.scopes)
    if key.kind is not KeyKind.OPERATOR:
        raise Forbidden(f"The console needs an operator key; this is a {key.kind.value} key.")
    if role is None:
        raise Forbidden("The access key has no role. Create one with --role.")
    async with deps.db.begin() as tx:
        grant = _console_grant(deps, role, key.name, key_id=key.key_id)
        return await _begin(tx, deps, grant, None, address)


async def admit(
    deps: Deps, person: Person, state: str, address: str | None
) -> tuple[Session, str] | None:
    """Open a session of the console for a person; None if one was opened for the same state before."""
    digest, now = digest_of(STATE, state), deps.clock.now()
    grant = _console_grant(deps, person.role, person.name, key_id=None)
    # The state is kept as a used link, for longer than it can come again.
    used = replace(grant, id=deps.ids.uuid(), expires_at=now + _LIFETIME)
    async with deps.db.begin() as tx:
        if digest is None or not await sessions.add_used(tx, used, digest, now):
            return None
        origin = {"issuer": person.issuer, "sub": person.subject}
        return await _begin(tx, deps, grant, None, address, **origin)


async def count_sign_in(deps: Deps, address: str | None) -> None:
    """Count an attempt to sign in; raises RateLimited for too many of one address."""
    await _count(deps, "sign-in", address, _SIGN_INS)


async def make_console_link(deps: Deps, *, who: str, role: Role) -> str:
    """Make a one-time link into the console, for somebody who has access to the database."""
    grant = _console_grant(deps, role, who, key_id=None)
    text, digest = _token(deps, LINK)
    async with deps.db.begin() as tx:
        await sessions.add_link(tx, grant, digest)
    return text


@retry_on_deadlock
async def make_portal_link(
    deps: Deps,
    tenant: Tenant,
    *,
    key_id: str | None,
    read_only: bool = False,
    pages: Sequence[str] = (),
    return_url: str | None = None,
    theme: Mapping[str, str] | None = None,
    who: str = "link",
) -> PortalLink:
    """Make a one-time link into the portal of a tenant; its session ends with the key, too.

    `theme` may have `accent`, `logoUrl` and `mode`. Raises BadRequest, Conflict, TenantSuspended.
    """
    if not deps.portal.is_on:
        raise Conflict("This gateway serves no portal: GATEWAY_PORTAL is off.")
    look = portal_look(pages, return_url, theme or {})
    if tenant.suspended_at is not None:
        raise TenantSuspended("The tenant is suspended, so its portal is closed.")
    now = deps.clock.now()
    grant = Grant(
        id=deps.ids.uuid(),
        tenant_id=tenant.id,
        key_id=key_id,
        kind="portal",
        role=Role.VIEWER if read_only else Role.SUPPORT,
        who=who,
        pages=look.pages,
        return_url=return_url,
        theme=json.dumps(look.theme),
        created_at=now,
        expires_at=now + _LINK_LIFETIME,
    )
    text, digest = _token(deps, LINK)
    async with deps.db.begin() as tx:
        await sessions.add_link(tx, grant, digest)
        detail = {"who": who, "readOnly": read_only, "pages": look.pages, "returnUrl": return_url}
        actor = key_id or who
        await audit.note(
            tx, deps, actor, "portal_link.created", tenant.slug, tenant_id=tenant.id, **detail
        )
    return PortalLink(text, grant.expires_at)


def link_url(public_url: str, kind: SessionKind, token: str) -> str:
    """The address of a one-time link; without a public URL it is relative to the gateway's."""
    return f"{public_url}{PATHS[kind]}?{urlencode({'token': token})}"


async def redeem(
    deps: Deps, link_token: str, address: str | None, *, kind: SessionKind | None = None
) -> tuple[Session, str]:
    """Open the session of a one-time link; returns it and its token. `kind` refuses links of the other one.

    Raises Unauthorized with a sentence for the person who followed it, RateLimited.
    """
    await _count(deps, "link", address, _REDEEMS)
    digest, now = digest_of(LINK, link_token), deps.clock.now()
    if digest is None:
        raise Unauthorized("The link is incomplete. Check that it was copied whole.")
    async with deps.db.begin() as tx:
        link = _require_usable(await sessions.find_link(tx, digest, now), kind, now)
        tenant = await _tenant(tx, link)
        if tenant is not None and tenant.suspended_at is not None:
            raise Unauthorized("The tenant is suspended. Only an operator can resume it.")
        await sessions.use_link(tx, link.id, now)
        return await _begin(tx, deps, link, tenant, address)


async def find(deps: Deps, token: str) -> Session | None:
    """The session of a token; None once it has ended, or its key or its tenant has."""
    digest = digest_of(SESSION, token)
    if digest is None:
        return None
    monotonic, now = deps.clock.monotonic(), deps.clock.now()
    known = deps.sessions.get(digest, monotonic)
    if known is None:
        keep = deps.sessions.keeper(digest, monotonic)
        known = await _look_up(deps, digest, now)
        if known is None:
            return None
        keep(known)
    return None if _is_over(known.stored, now) else _shown(known, token)


@retry_on_deadlock
async def end(deps: Deps, session_id: UUID, *, actor: str | None = None) -> bool:
    """End a session at once, in all processes; False if there is none.

    The actor is the person of the session unless another one ends it.
    """
    async with deps.db.begin() as tx:
        ended = await sessions.end(tx, session_id)
        if ended is None:
            return False
        detail = {"kind": ended.kind, "role": ended.role, "who": ended.who}
        await audit.note(
            tx,
            deps,
            actor or ended.key_id or ended.who,
            "session.ended",
            str(session_id),
            tenant_id=ended.tenant_id,
            **detail,
        )
    deps.queue.announce(f"session:{session_id}")
    deps.sessions.hear(f"session:{session_id}")
    return True


async def list_sessions(
    deps: Deps,
    *,
    before: UUID | None = None,
    limit: int = 100,
    tenant_id: UUID | None = None,
    kind: SessionKind | None = None,
) -> list[Session]:
    """The sessions that are open, newest first: those older than the id `before`."""
    now = deps.clock.now()
    wanted = SessionFilter(now, now - _IDLE, tenant_id, kind)
    async with deps.db.single() as tx:
        found = await sessions.page(tx, wanted, before=before, limit=limit)
        of_portals = {one.tenant_id for one in found if one.tenant_id is not None}
        owners: dict[UUID | None, Tenant | None] = {
            one: await tenants.by_id(tx, one) for one in of_portals
        }
    return [_shown(KnownSession(one, owners.get(one.tenant_id)), None) for one in found]


async def _count(deps: Deps, act: str, address: str | None, per_second: int) -> None:
    allowance = await deps.limiter.hit(f"{act}:{address}", per_second)
    if not allowance.allowed:
        raise RateLimited(
            "There were too many attempts from this address. Try again in a moment.",
            retry_after=allowance.reset,
        )


def _require_usable(link: StoredLink | None, kind: SessionKind | None, now: datetime) -> StoredLink:
    """The link if it may be used now; raises Unauthorized that says why not."""
    if link is None:
        raise Unauthorized("The link is not known, or it expired long ago. Ask for a new one.")
    if link.used_at is not None:
        raise Unauthorized("The link was used already; it works once. Ask for a new one.")
    if link.expires_at <= now:
        raise Unauthorized("The link has expired; it works for five minutes. Ask for a new one.")
    if link.is_key_ended:
        raise Unauthorized("The access key that made the link is revoked or has expired.")
    if kind is not None and link.kind != kind:
        raise Unauthorized(f"This link leads into the {link.kind}, not into the {kind}.")
    return link


async def _look_up(deps: Deps, digest: bytes, now: datetime) -> KnownSession | None:
    """Read a session, and note its use once a minute; None unless it may be used."""
    async with deps.db.single() as tx:
        stored = await sessions.find(tx, digest, now)
        if stored is None or _is_over(stored, now):
            return None
        tenant = await _tenant(tx, stored)
        if stored.tenant_id is not None and (tenant is None or tenant.suspended_at):
            return None
        if now - stored.last_seen_at >= _NOTE_USE:
            await sessions.seen(tx, stored.id, now)
    return KnownSession(stored, tenant, await _look(tx, stored))


def _is_over(stored: StoredSession, now: datetime) -> bool:
    is_idle = stored.last_seen_at + _IDLE <= now
    return is_idle or stored.is_key_ended or stored.expires_at <= now


async def _begin(
    tx: Tx,
    deps: Deps,
    grant: Grant,
    tenant: Tenant | None,
    address: str | None,
    **origin: str,
) -> tuple[Session, str]:
    """Store a session with what was granted, and its audit entry; returns it and its token."""
    (text, digest), now = _token(deps, SESSION), deps.clock.now()
    born: dict[str, Any] = {"id": deps.ids.uuid(), "created_at": now, "expires_at": now + _LIFETIME}
    granted = {field.name: getattr(grant, field.name) for field in fields(Grant)}
    stored = StoredSession(
        **{**granted, **born}, last_seen_at=now, address=address, is_key_ended=False
    )
    await sessions.add(tx, stored, digest)
    begun = _shown(KnownSession(stored, tenant, await _look(tx, stored)), text)
    detail = {
        "kind": begun.kind,
        "role": begun.role,
        "who": begun.who,
        "address": address,
        "expiresAt": instant(begun.expires_at)[1:-1],
        **origin,
    }
    await audit.note(
        tx, deps, begun.actor, "session.created", str(begun.id), tenant_id=grant.tenant_id, **detail
    )
    return begun, text


def _console_grant(deps: Deps, role: Role, who: str, *, key_id: str | None) -> Grant:
    now = deps.clock.now()
    return Grant(
        id=deps.ids.uuid(),
        tenant_id=None,
        key_id=key_id,
        kind="console",
        role=role.value,
        who=who,
        pages=[],
        return_url=None,
        theme="{}",
        created_at=now,
        expires_at=now + _LINK_LIFETIME,
    )


def _token(deps: Deps, kind: TokenKind) -> NewToken:
    return make_token(kind, deps.ids.random_bytes(TOKEN_BYTES))


async def _tenant(tx: Tx, grant: Grant) -> Tenant | None:
    return None if grant.tenant_id is None else await tenants.by_id(tx, grant.tenant_id)


async def _look(tx: Tx, grant: Grant) -> PortalLook:
    """What the tenant has stored, which a link can name otherwise."""
    if grant.tenant_id is None:
        return PortalLook()
    return (await portal_looks.find(tx, grant.tenant_id)).under(json.loads(grant.theme))


def _shown(known: KnownSession, token: str | None) -> Session:
    stored = known.stored
    return Session(
        id=stored.id,
        kind=cast("SessionKind", stored.kind),
        role=Role(stored.role),
        who=stored.who,
        key_id=stored.key_id,
        tenant=known.tenant,
        csrf_token=csrf_token(token) if token else "",
        pages=tuple(stored.pages),
        return_url=stored.return_url,
        look=known.look,
        created_at=stored.created_at,
        last_seen_at=stored.last_seen_at,
        expires_at=stored.expires_at,
        address=stored.address,
    )
