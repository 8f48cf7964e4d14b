"""The portal of a tenant: entered by a link once, limited to the tenant on the server, framed where allowed."""

import re
from typing import Any
from uuid import UUID

import httpx
import pytest
from uuid_utils.compat import uuid7

from gateway.console.cookies import PORTAL_SESSION
from gateway.console.router import portal_face
from gateway.core.portal.look import PortalLook
from gateway.flows.admin import portal_look, sessions
from gateway.flows.admin.tenants import get_tenant, suspend_tenant
from tests.builders import add_endpoint
from tests.console.conftest import Console, signed_in
from tests.web.conftest import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMED = {"sec-fetch-dest": "iframe"}


async def link_of(world: World, slug: str, **given: Any) -> str:
    """The path of a new link into the portal of a tenant."""
    tenant = await get_tenant(world.deps, slug)
    made = await sessions.make_portal_link(world.deps, tenant, key_id=None, **given)
    return f"/portal/link?token={made.token}"


async def endpoint_of(world: World, slug: str) -> UUID:
    """The id of a new endpoint of a tenant."""
    tenant = await get_tenant(world.deps, slug)
    async with world.deps.db.begin() as tx:
        return await add_endpoint(tx, tenant.id)


def seen(page: str) -> str:
    """What a page says, without what its addresses and fields repeat of the request."""
    return re.sub(r'(href|value|hx-get|<title>)[=]?"[^"]*"', "", page).lower()


async def entered(world: World, client: httpx.AsyncClient, slug: str, **given: Any) -> Console:
    """Somebody in the portal of a tenant."""
    answer = await client.get(await link_of(world, slug, **given), headers=FRAMED)
    assert answer.status_code == 303, answer.text
    session = await sessions.find(world.deps, client.cookies[PORTAL_SESSION])
    assert session is not None
    return Console(client, session.csrf_token)


async def test_a_link_in_a_frame_opens_the_portal_at_once_and_only_once(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    path = await link_of(world, acme)
    answer = await client.get(path, headers=FRAMED)
    cookie = answer.headers["set-cookie"]
    assert (answer.status_code, answer.headers["location"]) == (303, "/portal")
    assert re.fullmatch(
        r"__Host-gateway-portal=jgs_\S+; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
        cookie,
    )
    assert (await client.get("/portal")).status_code == 200

    again = await client.get(path, headers=FRAMED)
    assert again.status_code == 401
    assert "The link was used already" in again.text


async def test_a_program_that_looks_at_a_link_does_not_use_it_up(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    path = await link_of(world, acme)
    for _ in range(2):
        looked = await client.get(path)
        assert looked.status_code == 200
        assert "set-cookie" not in looked.headers
    token = path.partition("=")[2]
    assert (await client.post("/portal/link", data={"token": token})).status_code == 303


async def test_without_a_session_each_page_says_how_to_come_back(client: httpx.AsyncClient) -> None:
    for path in ("/portal", "/portal/jobs", "/portal/endpoints"):
        answer = await client.get(path)
        assert answer.status_code == 401
        assert "open the portal there again" in answer.text
        assert "sign-in" not in answer.text


async def test_sessions_of_one_face_open_nothing_of_the_other(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    await entered(world, client, acme)
    assert (await client.get("/console/jobs")).status_code == 303
    client.cookies.set("__Host-gateway-console", client.cookies[PORTAL_SESSION])
    assert (await client.get("/console/jobs")).status_code == 403


async def test_no_address_of_the_portal_shows_another_tenant(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    rival = await world.tenant("globex")
    job = await world.job(rival, name="hidden of globex")
    endpoint = await endpoint_of(world, rival)
    portal = await entered(world, client, acme)
    for path in (
        f"/portal/jobs/{job}",
        f"/portal/endpoints/{endpoint}",
        f"/portal/endpoints/{endpoint}/edit",
        f"/portal/endpoints/{endpoint}/send?since=2026-01-01T00:00:00Z",
        f"/portal/deliveries/{uuid7()}",
        f"/portal/bulk/{uuid7()}",
        "/portal/tenants",
        f"/portal/tenants/{rival}",
        "/portal/activity",
        "/portal/system",
        "/portal/queues",
        "/portal/account",
    ):
        answer = await portal.get(path)
        assert answer.status_code == 404, (path, answer.text)
        assert "globex" not in answer.text.lower()
    for path in (
        f"/portal/jobs?tenant={rival}",
        "/portal/jobs?name=hidden%20of%20globex",
        f"/portal/deliveries?tenant={rival}",
        f"/portal/deliveries?endpoint={endpoint}",
        f"/portal/deliveries?job={job}",
        f"/portal/endpoints?tenant={rival}",
        f"/portal/dead-letters?tenant={rival}",
        f"/portal/bulk?tenant={rival}",
        f"/portal/usage?tenant={rival}",
        f"/portal/usage.csv?tenant={rival}&by=tenant",
    ):
        answer = await portal.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert f"/jobs/{job}" not in answer.text, path
        assert "globex" not in seen(answer.text), path
    for text in (job, rival, "hidden of globex"):
        assert "Nothing found" in (await portal.get(f"/portal/search?q={text}")).text
    for act in (f"jobs/{job}/retry", f"jobs/{job}/cancel", f"endpoints/{endpoint}/rotate"):
        assert (await portal.post(f"/portal/{act}", {"overlap": "0"})).status_code == 404


async def test_every_handler_of_the_portal_is_limited_to_a_tenant(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    """Each GET without a path parameter answers as the tenant, and none names another one."""
    await world.job(await world.tenant("globex"), name="hidden of globex")
    portal = await entered(world, client, acme)
    for router in portal_face().routers:
        for route in router.routes:
            if route.path_parameters or "GET" not in route.methods:
                continue
            answer = await portal.get(route.path)
            assert answer.status_code in (200, 303, 400), (route.path, answer.text)
            assert "globex" not in answer.text.lower(), route.path


async def test_a_reader_sees_no_buttons_and_changes_nothing(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    job = await world.job(acme)
    endpoint = await endpoint_of(world, acme)
    portal = await entered(world, client, acme, read_only=True)
    page = await portal.get(f"/portal/jobs/{job}")
    assert "Cancel" not in page.text
    assert "Rotate" not in (await portal.get(f"/portal/endpoints/{endpoint}")).text
    for act in ("jobs/{0}/cancel", "jobs/{0}/retry"):
        assert (await portal.post(f"/portal/{act.format(job)}")).status_code == 403
    for act in ("edit", "rotate", "test", "disable", "send"):
        assert (await portal.post(f"/portal/endpoints/{endpoint}/{act}")).status_code == 403


async def test_a_write_needs_the_token_of_the_session(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    job = await world.job(acme)
    portal = await entered(world, client, acme)
    answer = await client.post(f"/portal/jobs/{job}/cancel", data={"csrf": "wrong"})
    assert answer.status_code == 403
    other = await client.post(
        f"/portal/jobs/{job}/cancel",
        data={"csrf": portal.csrf},
        headers={"sec-fetch-site": "cross-site"},
    )
    assert other.status_code == 403
    assert (await portal.post(f"/portal/jobs/{job}/cancel")).status_code == 303


async def test_a_link_that_names_pages_shows_only_those(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    portal = await entered(world, client, acme, pages=["usage"])
    first = await portal.get("/portal")
    assert (first.status_code, first.headers["location"]) == (303, "/portal/usage")
    shown = await portal.get("/portal/usage")
    assert re.findall(r'data-go="(\w)"', shown.text) == ["u"]
    for path in ("/portal/jobs", "/portal/endpoints", "/portal/deliveries", "/portal/bulk"):
        answer = await portal.get(path)
        assert answer.status_code == 403
        assert "does not show this page" in answer.text


async def test_pages_may_be_framed_by_the_origins_of_the_gateway_or_the_tenant(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    portal = await entered(world, client, acme)
    closed = await portal.get("/portal")
    assert "frame-ancestors 'none'" in closed.headers["content-security-policy"]
    assert closed.headers["x-frame-options"] == "DENY"
    look = PortalLook(
        accent="#79b0ff",
        logo_url="https://cdn.acme.example/logo.svg",
        mode="dark",
        frame_ancestors=("https://app.acme.example", "https://*.acme.example"),
    )
    await portal_look.put_look(world.deps, "test", acme, look)
    try:
        page = await portal.get("/portal")
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors https://app.acme.example https://*.acme.example" in policy
        assert "img-src 'self' data: https://cdn.acme.example;" in policy
        assert "x-frame-options" not in page.headers
        assert 'data-theme="dark"' in page.text
        assert '<img class="logo" src="https://cdn.acme.example/logo.svg"' in page.text
        assert "/portal/accent/79b0ff/dark" in page.text
    finally:
        await portal_look.put_look(world.deps, "test", acme, PortalLook())


async def test_an_accent_is_a_style_sheet_or_not_found(client: httpx.AsyncClient) -> None:
    style = await client.get("/portal/accent/1f6feb/auto")
    assert style.status_code == 200
    assert style.headers["content-type"].startswith("text/css")
    assert re.fullmatch(r":root\{--accent:light-dark\(#[0-9a-f]{6},#[0-9a-f]{6}\);.*\}", style.text)
    for path in ("ffffff/light", "1f6feb/sepia", "red/auto", "1f6feb%7D/auto"):
        assert (await client.get(f"/portal/accent/{path}")).status_code == 404


async def test_the_portal_closes_with_its_tenant(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("closing")
    portal = await entered(world, client, slug)
    assert (await portal.get("/portal")).status_code == 200
    await suspend_tenant(world.deps, "test", slug, suspended=True)
    world.deps.sessions.hear(f"tenant:{slug}")
    assert (await portal.get("/portal")).status_code == 401


async def test_leaving_ends_the_session(world: World, client: httpx.AsyncClient, acme: str) -> None:
    portal = await entered(world, client, acme, return_url="https://app.acme.example/jobs")
    page = await portal.get("/portal")
    assert '<a href="https://app.acme.example/jobs" target="_top" rel="noopener">' in page.text
    assert (await portal.post("/portal/leave")).status_code == 303
    assert (await client.get("/portal")).status_code == 401


async def test_somebody_in_the_portal_makes_an_endpoint_and_deletes_it(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    portal = await entered(world, client, acme)
    form = {"url": "http://example.com/x", "description": "", "schedule": "", "rateLimit": "-1"}
    wrong = await portal.post("/portal/endpoints/new", form)
    assert wrong.status_code == 400
    assert "must be a whole number" in wrong.text
    assert 'value="http://example.com/x"' in wrong.text

    made = await portal.post("/portal/endpoints/new", {"url": "https://example.com/hook"})
    assert made.status_code == 200
    assert re.search(r"whsec_[A-Za-z0-9+/=]{32,}", made.text)
    [found] = await world.get("/v1/endpoint", acme)
    assert found["url"] == "https://example.com/hook"

    gone = await portal.post(f"/portal/endpoints/{found['id']}/delete")
    assert gone.headers["location"] == "/portal/endpoints?told=deleted"
    assert await world.get("/v1/endpoint", acme) == []
    notes = await world.get(f"/admin/v1/audit?tenant={acme}", world.operator)
    acts = {one["action"] for one in notes}
    assert {"endpoint.created", "endpoint.deleted", "session.created"} <= acts


async def test_staff_names_the_tenant_of_a_new_endpoint(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    console = await signed_in(world, client)
    wrong = await console.post("/console/endpoints/new", {"url": "https://example.com/hook"})
    assert wrong.status_code == 400
    assert "there is no tenant" in wrong.text
    given = {"url": "https://example.com/hook", "tenant": acme}
    assert (await console.post("/console/endpoints/new", given)).status_code == 200
    assert len(await world.get("/v1/endpoint", acme)) == 1
