"""The look of a tenant's portal: stored whole, checked field by field, and in the audit log."""

import pytest

from tests.web.conftest import World, fields_of, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTHING = {"accent": None, "logoUrl": None, "mode": None, "frameAncestors": []}
LOOK = {
    "accent": "#1f4fd8",
    "logoUrl": "https://cdn.acme.example/logo.svg",
    "mode": "light",
    "frameAncestors": ["https://app.acme.example", "http://localhost:3000"],
}


async def test_a_look_is_stored_whole_and_noted(world: World, acme: str) -> None:
    path = f"/admin/v1/tenant/{acme}/portal"
    assert await world.get(path, world.operator) == NOTHING
    assert await world.send("PUT", path, world.operator, LOOK) == LOOK
    assert await world.get(path, world.operator) == LOOK
    assert await world.send("PUT", path, world.operator, LOOK) == LOOK
    assert await world.send("PUT", path, world.operator, {}) == NOTHING
    notes = await world.get(f"/admin/v1/audit?tenant={acme}&action=portal.changed", world.operator)
    assert [one["detail"]["changes"]["accent"] for one in notes] == [
        {"from": "#1f4fd8", "to": None},
        {"from": None, "to": "#1f4fd8"},
    ]


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"accent": "red"}, ["accent"]),
        ({"accent": "#ffff00"}, ["accent"]),
        ({"logoUrl": "http://cdn.acme.example/x.svg"}, ["logoUrl"]),
        ({"logoUrl": "javascript:alert(1)"}, ["logoUrl"]),
        ({"frameAncestors": ["*"]}, ["frameAncestors[0]"]),
        ({"frameAncestors": ["https://a.example", "https:"]}, ["frameAncestors[1]"]),
        ({"frameAncestors": ["https://a.example; script-src *"]}, ["frameAncestors[0]"]),
        ({"frameAncestors": ["https://a.example/path"]}, ["frameAncestors[0]"]),
        ({"frameAncestors": ["http://a.example"]}, ["frameAncestors[0]"]),
        ({"frameAncestors": ["https://a.example\r\nX: y"]}, ["frameAncestors[0]"]),
        ({"accent": "#1f4fd8;", "logoUrl": "x"}, ["accent", "logoUrl"]),
    ],
)
async def test_a_wrong_look_is_refused_field_by_field(
    world: World, acme: str, given: dict[str, object], fields: list[str]
) -> None:
    path = f"/admin/v1/tenant/{acme}/portal"
    answer = await world.call("PUT", path, world.operator, json=given)
    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == fields
    assert await world.get(path, world.operator) == NOTHING


async def test_a_tenant_that_is_not_there_has_no_look(world: World) -> None:
    for method in ("GET", "PUT"):
        body = {"json": {}} if method == "PUT" else {}
        answer = await world.call(method, "/admin/v1/tenant/nobody/portal", world.operator, **body)
        problem(answer, 404, "NOT_FOUND")
