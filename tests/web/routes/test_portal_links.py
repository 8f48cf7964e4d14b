"""One-time links into the portal: who may make them, and what they carry."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.core.model import KeyKind
from gateway.core.portal.look import PortalAccess, PortalLook
from gateway.core.roles import Role
from gateway.flows.admin.sessions import Session, redeem
from gateway.flows.admin.tenants import suspend_tenant
from tests.web.conftest import World, fields_of, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

_READS = frozenset({"jobs:read", "endpoints:read", "usage:read"})


async def opened(world: World, url: str) -> Session:
    token = parse_qs(urlsplit(url).query)["token"][0]
    return (await redeem(world.deps, token, None))[0]


async def test_a_tenant_makes_a_link_for_itself(world: World, acme: str) -> None:
    answer = await world.call("POST", "/v1/portal-link", acme)

    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["url"].startswith("/portal/link?token=jgl_")
    session = await opened(world, answer.json()["url"])
    assert session.tenant
    assert (session.kind, session.tenant.slug, session.role) == ("portal", acme, Role.SUPPORT)
    assert (session.who, session.pages, session.look) == ("test", (), PortalLook())


async def test_the_url_begins_with_the_public_one(world: World, acme: str) -> None:
    world.client = await world.serve(public_url="https://jobs.example.com/gw")

    made = await world.send("POST", "/v1/portal-link", acme, {})

    assert made["url"].startswith("https://jobs.example.com/gw/portal/link?token=jgl_")


async def test_everything_it_may_carry(world: World, acme: str) -> None:
    theme = {"accent": "#1F4FD8", "logoUrl": "https://acme.example/logo.svg", "mode": "light"}
    body = {
        "readOnly": True,
        "pages": ["jobs", "deliveries", "jobs"],
        "returnUrl": "http://localhost:3000/orders?a=b",
        "theme": theme,
    }

    session = await opened(world, (await world.send("POST", "/v1/portal-link", acme, body))["url"])

    assert session.role is Role.VIEWER
    assert session.pages == ("jobs", "deliveries")
    assert session.return_url == "http://localhost:3000/orders?a=b"
    assert session.look == PortalLook(theme["accent"], theme["logoUrl"], "light")


@pytest.mark.parametrize("path", ["/v1/portal-link", "/admin/v1/tenant/{slug}/portal-link"])
async def test_support_makes_one_of_any_tenant(world: World, acme: str, path: str) -> None:
    key = await world.key(KeyKind.OPERATOR, role=Role.SUPPORT)
    made = await world.call(
        "POST", path.format(slug=acme), key, headers={"Gateway-Tenant": acme}, json={}
    )
    session = await opened(world, made.json()["url"])
    assert session.tenant
    assert session.tenant.slug == acme
    viewer = await world.key(KeyKind.OPERATOR, role=Role.VIEWER)
    refused = await world.call(
        "POST",
        path.format(slug=acme),
        viewer,
        headers={"Gateway-Tenant": acme},
        json={"readOnly": True},
    )
    assert "this needs the role support" in problem(refused, 403, "FORBIDDEN")["detail"]


async def test_a_service_key_makes_one_of_the_tenants_it_acts_for(world: World, acme: str) -> None:
    globex = await world.tenant("globex")
    key = await world.key(KeyKind.SERVICE, allowed_tenants=[acme])
    made = await world.call("POST", "/v1/portal-link", key, headers={"Gateway-Tenant": acme})
    assert made.status_code == 200
    refused = await world.call("POST", "/v1/portal-link", key, headers={"Gateway-Tenant": globex})
    problem(refused, 404, "NOT_FOUND")
    problem(await world.call("POST", "/v1/portal-link", key), 400, "BAD_REQUEST")


async def test_a_tenant_makes_none_of_another(world: World, acme: str) -> None:
    globex = await world.tenant("globex")
    answer = await world.call("POST", "/v1/portal-link", acme, headers={"Gateway-Tenant": globex})
    problem(answer, 403, "FORBIDDEN")


async def test_a_link_gives_no_more_than_its_key_has(world: World, acme: str) -> None:
    reads = await world.key(KeyKind.TENANT, tenant=acme, scopes=_READS)
    fewer = await world.key(KeyKind.TENANT, tenant=acme, scopes=frozenset({"jobs:read"}))

    writes = await world.call("POST", "/v1/portal-link", reads, json={})
    told = problem(writes, 403, "FORBIDDEN")["detail"]
    assert "lacks endpoints:write, jobs:write, or readOnly if the key only reads" in told
    assert (await world.send("POST", "/v1/portal-link", reads, {"readOnly": True}))["url"]
    refused = await world.call("POST", "/v1/portal-link", fewer, json={"readOnly": True})
    assert "lacks endpoints:read, usage:read." in problem(refused, 403, "FORBIDDEN")["detail"]


async def test_the_portal_of_a_suspended_tenant_is_closed(world: World, acme: str) -> None:
    await suspend_tenant(world.deps, "test", acme, suspended=True)
    service = await world.key(KeyKind.SERVICE)
    for key, path in (
        (acme, "/v1/portal-link"),
        (service, "/v1/portal-link"),
        (world.operator, f"/admin/v1/tenant/{acme}/portal-link"),
    ):
        answer = await world.call("POST", path, key, headers={"Gateway-Tenant": acme})
        problem(answer, 403, "TENANT_SUSPENDED")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"returnUrl": "javascript:alert(1)"}, ["returnUrl"]),
        ({"returnUrl": "http://app.example.com/"}, ["returnUrl"]),
        ({"returnUrl": "//evil.example"}, ["returnUrl"]),
        ({"theme": {"logoUrl": "http://localhost/logo.png"}}, ["theme.logoUrl"]),
        ({"theme": {"logoUrl": "data:image/svg+xml,<svg/>"}}, ["theme.logoUrl"]),
        ({"theme": {"accent": "#ffd400"}}, ["theme.accent"]),
        ({"theme": {"accent": "red;}body{display:none"}}, ["theme.accent"]),
        ({"theme": {"mode": "sepia"}}, ["theme.mode"]),
        ({"theme": {"font": "x"}}, ["theme.font"]),
        ({"pages": ["secrets"]}, ["pages[0]"]),
        ({"pages": "jobs"}, ["pages"]),
        ({"readOnly": "yes"}, ["readOnly"]),
        (
            {"returnUrl": "ftp://a", "theme": {"accent": "red", "logoUrl": "x"}},
            ["returnUrl", "theme.accent", "theme.logoUrl"],
        ),
    ],
)
async def test_what_a_link_may_not_carry(
    world: World, acme: str, body: dict[str, Any], fields: list[str]
) -> None:
    answer = await world.call("POST", "/v1/portal-link", acme, json=body)
    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == fields


async def test_there_is_no_link_for_a_tenant_that_is_not_there(world: World) -> None:
    answer = await world.call("POST", "/admin/v1/tenant/nobody/portal-link", world.operator)
    problem(answer, 404, "NOT_FOUND")


async def test_a_gateway_without_a_portal_makes_no_links(world: World, acme: str) -> None:
    world.client = await world.serve(portal=PortalAccess(is_on=False))
    answer = await world.call("POST", "/v1/portal-link", acme, json={})
    assert "GATEWAY_PORTAL is off" in problem(answer, 409, "CONFLICT")["detail"]
