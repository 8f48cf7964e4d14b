"""Sessions: opened by an operator key or by a one-time link, and ended with what they depend on."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from gateway.core.crypto.session_tokens import csrf_token
from gateway.core.model import KeyKind, Tenant
from gateway.core.portal.look import PortalLook
from gateway.core.roles import Role
from gateway.errors import Forbidden, RateLimited, Unauthorized
from gateway.flows.admin.access_keys import create_key, revoke_key
from gateway.flows.admin.sessions import (
    PortalLink,
    end,
    find,
    link_url,
    list_sessions,
    make_console_link,
    make_portal_link,
    redeem,
    sign_in,
)
from gateway.flows.admin.tenants import delete_tenant, suspend_tenant
from gateway.flows.process.session_memory import SessionMemory
from gateway.store.tenancy import audit, sessions
from gateway.store.tenancy.audit import AuditFilter
from tests.fakes import FakeLimiter
from tests.flows.world import World

ADDRESS = "203.0.113.7"


async def operator(world: World, role: Role = Role.OPERATOR, **fields: Any) -> tuple[str, str]:
    """The id and the text of a new operator key."""
    key, text = await create_key(
        world.deps, "test", kind=KeyKind.OPERATOR, name="Ann", role=role, **fields
    )
    return key.key_id, text


async def portal_link(world: World, tenant: Tenant, **fields: Any) -> tuple[str, PortalLink]:
    """A link by a new key of the tenant, and the id of that key."""
    key, _ = await create_key(
        world.deps, "test", kind=KeyKind.TENANT, name="backend", tenant=tenant.slug
    )
    return key.key_id, await make_portal_link(world.deps, tenant, key_id=key.key_id, **fields)


def hears(world: World, other: World) -> None:
    """Let the memory of a process hear what others announce."""
    world.queue.listen(other.deps.sessions.hear)


def passes(world: World, seconds: float) -> None:
    """Let time pass; every time of a session comes from the clock of the process."""
    world.clock.ahead += seconds
    world.clock.advance(seconds)


async def told(world: World) -> list[tuple[str, str, str]]:
    """The acts of sessions in the audit: who, what, and the name of the person."""
    async with world.deps.db.single() as tx:
        found = await audit.page(tx, AuditFilter(), before=None, limit=50)
    return [
        (entry.key_id, entry.action, entry.detail)
        for entry in reversed(found)
        if entry.action.startswith(("session.", "portal_link."))
    ]


# --- Sign in -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", list(Role))
async def test_an_operator_key_opens_a_session_with_its_role(world: World, role: Role):
    key_id, text = await operator(world, role)
    session, token = await sign_in(world.deps, f" {text}\n", ADDRESS)
    assert (session.kind, session.role, session.who, session.key_id) == (
        "console",
        role,
        "Ann",
        key_id,
    )
    assert (session.tenant, session.address) == (None, ADDRESS)
    assert session.expires_at - session.created_at == timedelta(hours=12)
    assert session.csrf_token == csrf_token(token)
    assert await find(world.deps, token) == session


async def test_neither_the_token_nor_the_csrf_token_is_stored(world: World):
    _, text = await operator(world)
    session, token = await sign_in(world.deps, text, ADDRESS)
    row = await world.value("SELECT s::text FROM session s")
    assert token not in row
    assert token.removeprefix("jgs_") not in row
    assert session.csrf_token not in row


@pytest.mark.parametrize("kind", [KeyKind.TENANT, KeyKind.SERVICE])
async def test_keys_of_tenants_and_services_are_refused(world: World, kind: KeyKind):
    await world.tenant()
    tenant = "acme" if kind is KeyKind.TENANT else None
    _, text = await create_key(world.deps, "test", kind=kind, name="k", tenant=tenant)
    with pytest.raises(Forbidden, match=f"this is a {kind.value} key"):
        await sign_in(world.deps, text, ADDRESS)


async def test_an_operator_key_without_scopes_is_refused(world: World):
    _, text = await create_key(
        world.deps, "test", kind=KeyKind.OPERATOR, name="none", scopes=frozenset()
    )
    with pytest.raises(Forbidden, match="has no role"):
        await sign_in(world.deps, text, ADDRESS)


async def test_unknown_and_ended_keys_are_refused(world: World):
    key_id, text = await operator(world)
    with pytest.raises(Unauthorized, match="malformed"):
        await sign_in(world.deps, text[:-1], ADDRESS)
    await revoke_key(world.deps, "test", key_id)
    with pytest.raises(Unauthorized, match="revoked"):
        await sign_in(world.deps, text, ADDRESS)
    assert await world.value("SELECT count(*) FROM session") == 0


async def test_attempts_of_one_address_are_limited(world: World):
    busy = world.other_process(limiter=FakeLimiter(1))
    _, text = await operator(world)
    with pytest.raises(Unauthorized):
        await sign_in(busy.deps, "guess", ADDRESS)
    with pytest.raises(RateLimited, match="too many attempts"):
        await sign_in(busy.deps, text, ADDRESS)
    with pytest.raises(RateLimited):
        await redeem(busy.deps, "guess", ADDRESS)


# --- Links ---------------------------------------------------------------------------------------


async def test_a_console_link_opens_one_session(world: World):
    link = await make_console_link(world.deps, who="gateway dev", role=Role.SUPPORT)
    session, token = await redeem(world.deps, link, ADDRESS)
    assert (session.kind, session.role, session.who, session.key_id) == (
        "console",
        Role.SUPPORT,
        "gateway dev",
        None,
    )
    assert await find(world.deps, token) == session
    with pytest.raises(Unauthorized, match="was used already"):
        await redeem(world.deps, link, ADDRESS)
    assert await world.value("SELECT count(*) FROM session") == 1


async def test_a_portal_link_carries_everything_into_its_session(world: World):
    tenant = await world.tenant()
    key_id, link = await portal_link(
        world,
        tenant,
        pages=["jobs", "endpoints"],
        return_url="https://app.example.com/",
        theme={"mode": "dark"},
    )
    session, token = await redeem(world.deps, link.token, None)
    assert session.tenant == tenant
    assert (session.kind, session.role, session.who) == ("portal", Role.SUPPORT, "link")
    assert (session.key_id, session.pages) == (key_id, ("jobs", "endpoints"))
    assert (session.return_url, session.look) == (
        "https://app.example.com/",
        PortalLook(mode="dark"),
    )
    assert await find(world.deps, token) == session


async def test_a_link_that_is_read_only_makes_a_viewer(world: World):
    _, link = await portal_link(world, await world.tenant(), read_only=True)
    session, _ = await redeem(world.deps, link.token, None)
    assert session.role is Role.VIEWER


async def test_a_link_works_for_five_minutes(world: World):
    _, link = await portal_link(world, await world.tenant())
    assert link.expires_at - world.clock.now() <= timedelta(minutes=5)
    await world.value("UPDATE session_link SET expires_at = now() RETURNING 1")
    with pytest.raises(Unauthorized, match="has expired"):
        await redeem(world.deps, link.token, None)


async def test_a_link_ends_with_its_key_and_its_tenant(world: World):
    tenant = await world.tenant()
    key_id, link = await portal_link(world, tenant)
    await suspend_tenant(world.deps, "test", "acme", suspended=True)
    with pytest.raises(Unauthorized, match="suspended"):
        await redeem(world.deps, link.token, None)
    await suspend_tenant(world.deps, "test", "acme", suspended=False)
    await revoke_key(world.deps, "test", key_id)
    with pytest.raises(Unauthorized, match="revoked"):
        await redeem(world.deps, link.token, None)


async def test_a_token_of_another_kind_is_refused(world: World):
    link = await make_console_link(world.deps, who="me", role=Role.VIEWER)
    _, token = await redeem(world.deps, link, None)
    assert await find(world.deps, link) is None
    for given in (token, "", "jgl_" + "x" * 42, "jgl_" + "\u00e9" * 43):
        with pytest.raises(Unauthorized, match="incomplete"):
            await redeem(world.deps, given, None)
    with pytest.raises(Unauthorized, match="not known"):
        await redeem(world.deps, "jgl_" + "x" * 43, None)


async def test_a_link_of_the_other_kind_is_refused_and_not_used_up(world: World):
    _, link = await portal_link(world, await world.tenant())
    with pytest.raises(Unauthorized, match="leads into the portal, not into the console"):
        await redeem(world.deps, link.token, None, kind="console")
    session, _ = await redeem(world.deps, link.token, None, kind="portal")
    assert session.kind == "portal"


async def test_of_two_clicks_at_once_one_wins(world: World):
    link = await make_console_link(world.deps, who="me", role=Role.VIEWER)
    clicks = (redeem(world.deps, link, None) for _ in range(5))
    done = await asyncio.gather(*clicks, return_exceptions=True)
    assert [isinstance(one, Unauthorized) for one in done].count(True) == 4
    assert await world.value("SELECT count(*) FROM session") == 1


def test_the_address_of_a_link():
    assert link_url("https://jobs.example.com", "portal", "jgl_a") == (
        "https://jobs.example.com/portal/link?token=jgl_a"
    )
    assert link_url("", "console", "jgl_a") == "/console/link?token=jgl_a"


# --- The end -------------------------------------------------------------------------------------


async def test_a_session_that_is_ended_is_gone_at_once(world: World):
    _, text = await operator(world)
    session, token = await sign_in(world.deps, text, ADDRESS)
    assert await find(world.deps, token)
    assert await end(world.deps, session.id)
    assert await find(world.deps, token) is None
    assert not await end(world.deps, session.id)
    assert not await end(world.deps, uuid4())


async def test_another_process_hears_of_the_end(world: World):
    other = world.other_process(sessions=SessionMemory())
    hears(world, other)
    _, text = await operator(world)
    session, token = await sign_in(world.deps, text, ADDRESS)
    assert await find(other.deps, token)
    await end(world.deps, session.id)
    assert await find(other.deps, token) is None


async def test_without_redis_another_process_forgets_within_five_seconds(world: World):
    other = world.other_process(sessions=SessionMemory())
    _, text = await operator(world)
    session, token = await sign_in(world.deps, text, ADDRESS)
    assert await find(other.deps, token)
    await end(world.deps, session.id)
    assert await find(other.deps, token), "it is remembered"
    world.clock.advance(5)
    assert await find(other.deps, token) is None


async def test_an_end_during_the_read_is_not_forgotten():
    memory = SessionMemory()
    keep = memory.keeper(b"digest", 0.0)
    memory.hear("key:0123")
    keep(None)  # type: ignore[arg-type]
    assert memory.get(b"digest", 0.0) is None


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_session_ends_with_its_key(world: World, how: str):
    hears(world, world)
    key_id, text = await operator(world)
    _, token = await sign_in(world.deps, text, ADDRESS)
    assert await find(world.deps, token)
    if how == "revoked":
        await revoke_key(world.deps, "test", key_id)
    else:
        await world.value("UPDATE access_key SET expires_at = now() RETURNING 1")
        world.clock.advance(5)
    assert await find(world.deps, token) is None
    assert await list_sessions(world.deps) == []


async def test_a_portal_session_ends_with_its_tenant(world: World):
    hears(world, world)
    _, link = await portal_link(world, await world.tenant())
    _, token = await redeem(world.deps, link.token, None)
    assert await find(world.deps, token)
    await suspend_tenant(world.deps, "test", "acme", suspended=True)
    assert await find(world.deps, token) is None
    await suspend_tenant(world.deps, "test", "acme", suspended=False)
    assert await find(world.deps, token)
    await delete_tenant(world.deps, "test", "acme")
    assert await find(world.deps, token) is None
    assert await world.value("SELECT count(*) FROM session") == 0
    assert await world.value("SELECT count(*) FROM session_link") == 0


async def test_an_hour_without_use_ends_it(world: World):
    _, text = await operator(world)
    _, token = await sign_in(world.deps, text, ADDRESS)
    for _ in range(3):
        passes(world, 59 * 60)
        assert await find(world.deps, token)
    passes(world, 60 * 60)
    assert await find(world.deps, token) is None
    assert await list_sessions(world.deps) == []


async def test_it_ends_after_twelve_hours_of_use(world: World):
    _, text = await operator(world)
    _, token = await sign_in(world.deps, text, ADDRESS)
    for _ in range(23):
        passes(world, 30 * 60)
        assert await find(world.deps, token)
    passes(world, 30 * 60)
    assert await find(world.deps, token) is None


async def test_use_is_noted_once_a_minute(world: World):
    _, text = await operator(world)
    session, token = await sign_in(world.deps, text, ADDRESS)
    for seconds, noted in ((30, 0), (25, 0), (6, 61), (50, 61), (10, 121)):
        passes(world, seconds)
        found = await find(world.deps, token)
        assert found
        seen = (await list_sessions(world.deps))[0].last_seen_at
        assert (seen - session.created_at).total_seconds() == pytest.approx(noted, abs=0.5)


# --- Lists, audit, pruning -----------------------------------------------------------------------


async def test_sessions_are_listed_newest_first_without_their_tokens(world: World):
    tenant = await world.tenant()
    _, text = await operator(world)
    first, _ = await sign_in(world.deps, text, ADDRESS)
    _, link = await portal_link(world, tenant)
    second, _ = await redeem(world.deps, link.token, None)
    listed = await list_sessions(world.deps)
    assert [one.id for one in listed] == [second.id, first.id]
    assert [one.tenant and one.tenant.slug for one in listed] == ["acme", None]
    assert {one.csrf_token for one in listed} == {""}
    assert [one.id for one in await list_sessions(world.deps, before=second.id)] == [first.id]
    assert [one.id for one in await list_sessions(world.deps, limit=1)] == [second.id]
    assert [one.id for one in await list_sessions(world.deps, kind="console")] == [first.id]
    assert [one.id for one in await list_sessions(world.deps, tenant_id=tenant.id)] == [second.id]


async def test_each_act_is_in_the_audit_with_the_name_of_the_person(world: World):
    tenant = await world.tenant()
    key_id, text = await operator(world)
    session, _ = await sign_in(world.deps, text, ADDRESS)
    backend, link = await portal_link(world, tenant, who="backend")
    opened, _ = await redeem(world.deps, link.token, None)
    await end(world.deps, opened.id, actor=key_id)
    await end(world.deps, session.id)
    entries = await told(world)
    assert [entry[:2] for entry in entries] == [
        (key_id, "session.created"),
        (backend, "portal_link.created"),
        (backend, "session.created"),
        (key_id, "session.ended"),
        (key_id, "session.ended"),
    ]
    assert [name for *_, detail in entries for name in ("Ann", "backend") if name in detail] == [
        "Ann",
        "backend",
        "backend",
        "backend",
        "Ann",
    ]
    assert not any(link.token in detail for *_, detail in entries)


async def test_what_expired_a_day_ago_is_pruned(world: World):
    _, text = await operator(world)
    await sign_in(world.deps, text, ADDRESS)
    await make_console_link(world.deps, who="me", role=Role.VIEWER)
    now = world.clock.now()
    async with world.deps.db.single() as tx:
        assert await sessions.prune(tx, now, 100) == 0
        assert await sessions.prune(tx, now + timedelta(minutes=6), 100) == 1
        assert await sessions.prune(tx, now + timedelta(hours=13), 100) == 1
