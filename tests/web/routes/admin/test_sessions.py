"""/admin/v1/session: who is signed in, and the end of a session."""

from uuid import UUID

import pytest

from gateway.core.model import KeyKind
from gateway.core.roles import Role
from gateway.flows.admin.sessions import (
    find,
    make_console_link,
    make_portal_link,
    redeem,
    sign_in,
)
from tests.web.conftest import NOBODY, World, fields_of, next_page, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_sessions_are_listed_with_who_and_where(world: World, acme: str) -> None:
    key = await world.key(KeyKind.OPERATOR, role=Role.SUPPORT)
    session, token = await sign_in(world.deps, key, "203.0.113.7")
    link = await make_portal_link(
        world.deps, await world.find(acme), key_id=None, who="backend", pages=["jobs"]
    )
    opened, _ = await redeem(world.deps, link.token, None)

    listed = await world.get("/admin/v1/session?size=2", world.operator)

    assert [one["id"] for one in listed] == [str(opened.id), str(session.id)]
    assert {name: listed[1][name] for name in ("kind", "role", "who", "tenant", "address")} == {
        "kind": "console",
        "role": "support",
        "who": "test",
        "tenant": None,
        "address": "203.0.113.7",
    }
    assert listed[0]["tenant"] == acme
    assert (listed[0]["pages"], listed[0]["keyId"]) == (["jobs"], None)
    assert token not in str(listed)
    assert session.csrf_token not in str(listed)
    mine = await world.get(f"/admin/v1/session?tenant={acme}", world.operator)
    assert [one["id"] for one in mine] == [str(opened.id)]
    kinds = {one["kind"] for one in await world.get("/admin/v1/session?kind=portal", key)}
    assert kinds == {"portal"}


async def test_pages_follow_each_other(world: World) -> None:
    for _ in range(3):
        await redeem(
            world.deps, await make_console_link(world.deps, who="Ann", role=Role.VIEWER), None
        )
    first = await world.call("GET", "/admin/v1/session?size=2&kind=console", world.operator)
    second = await world.call("GET", next_page(first), world.operator)
    ids = [one["id"] for one in (*first.json(), *second.json())]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == len(ids) >= 3


async def test_a_session_is_ended_by_an_operator(world: World) -> None:
    link = await make_console_link(world.deps, who="Ann", role=Role.VIEWER)
    session, token = await redeem(world.deps, link, None)
    assert await find(world.deps, token)
    support = await world.key(KeyKind.OPERATOR, role=Role.SUPPORT)
    path = f"/admin/v1/session/{session.id}"
    problem(await world.call("DELETE", path, support), 403, "FORBIDDEN")

    ended = await world.send("DELETE", path, world.operator)

    assert ended == {"id": str(session.id)}
    assert await find(world.deps, token) is None
    problem(await world.call("DELETE", path, world.operator), 404, "NOT_FOUND")
    (entry,) = await world.get("/admin/v1/audit?action=session.ended&size=1", world.operator)
    assert entry["subject"] == str(session.id)
    assert entry["keyName"] == "test"
    assert entry["detail"]["who"] == "Ann"


async def test_what_is_no_session(world: World) -> None:
    problem(
        await world.call("DELETE", f"/admin/v1/session/{NOBODY}", world.operator), 404, "NOT_FOUND"
    )
    assert UUID(NOBODY)
    answer = await world.call("GET", "/admin/v1/session?kind=root", world.operator)
    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["kind"]
    problem(
        await world.call("GET", "/admin/v1/session?tenant=nobody", world.operator), 404, "NOT_FOUND"
    )
