"""Who gets in, what a session may do, and what no other site can make a browser do."""

import httpx
import pytest

from gateway.console.cookies import SESSION
from gateway.core.lifecycle import expired
from gateway.core.model import KeyKind
from gateway.core.roles import Role
from gateway.flows.admin import sessions
from gateway.web.app import create_app
from tests.console.conftest import signed_in
from tests.web.conftest import NOBODY, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def failed_job(world: World) -> str:
    """A job that can be run again."""
    slug = await world.tenant("acme")
    job_id = await world.job(slug)
    await world.finish(job_id, expired())
    return job_id


@pytest.mark.parametrize("path", ["", "/", "/jobs", f"/jobs/{NOBODY}", "/search?q=x"])
async def test_every_page_asks_to_sign_in(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/console{path}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/console/sign-in?next=/console")


async def test_htmx_is_led_to_the_page_to_sign_in(client: httpx.AsyncClient) -> None:
    current = "https://gateway/console/jobs?status=FAILED"
    answer = await client.get(
        "/console/jobs", headers={"HX-Request": "true", "HX-Current-URL": current}
    )
    assert answer.headers["hx-redirect"] == (
        "/console/sign-in?next=/console/jobs%3Fstatus%3DFAILED"
    )


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example",
        "//evil.example",
        "/v1/job",
        "/consoleevil",
        "/console\\x",
        "/console/\n",
        "/console/\u00fc",
        "/console/\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ],
)
async def test_signing_in_leads_to_no_other_place(
    world: World, client: httpx.AsyncClient, elsewhere: str
) -> None:
    key = await world.key(KeyKind.OPERATOR)
    answer = await client.post("/console/sign-in", data={"key": key, "next": elsewhere})
    assert answer.headers["location"] == "/console"


async def test_the_cookie_is_for_this_host_over_tls_and_not_for_scripts(
    world: World, client: httpx.AsyncClient
) -> None:
    key = await world.key(KeyKind.OPERATOR)
    answer = await client.post("/console/sign-in", data={"key": key})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


async def test_a_tenants_key_does_not_sign_in(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    answer = await client.post("/console/sign-in", data={"key": world.keys[slug]})
    assert answer.status_code == 403
    assert "needs an operator key" in answer.text
    assert "set-cookie" not in answer.headers


async def test_a_link_signs_in_once(world: World, client: httpx.AsyncClient) -> None:
    token = await sessions.make_console_link(world.deps, who="somebody", role=Role.VIEWER)
    shown = await client.get(f"/console/link?token={token}")
    assert token in shown.text
    assert SESSION not in client.cookies  # to look at the link does not use it up
    used = await client.post("/console/link", data={"token": token})
    assert used.status_code == 303
    assert (await client.get("/console")).status_code == 200
    client.cookies.clear()
    again = await client.post("/console/link", data={"token": token})
    assert again.status_code == 401
    assert "used already" in again.text


async def test_a_link_into_the_portal_does_not_sign_in_here(
    world: World, client: httpx.AsyncClient
) -> None:
    tenant = await world.find(await world.tenant("acme"))
    link = await sessions.make_portal_link(world.deps, tenant, key_id=None)
    answer = await client.post("/console/link", data={"token": link.token})
    assert answer.status_code == 401
    assert SESSION not in client.cookies


async def test_a_session_of_the_portal_opens_no_page_of_staff(
    world: World, client: httpx.AsyncClient
) -> None:
    tenant = await world.find(await world.tenant("acme"))
    link = await sessions.make_portal_link(world.deps, tenant, key_id=None)
    _, token = await sessions.redeem(world.deps, link.token, None)
    client.cookies.set(SESSION, token)
    assert (await client.get("/console/jobs")).status_code == 403


@pytest.mark.parametrize("token", [None, "", "wrong"])
async def test_a_write_needs_the_token_of_the_session(
    world: World, client: httpx.AsyncClient, token: str | None
) -> None:
    job_id = await failed_job(world)
    await signed_in(world, client)
    fields = {} if token is None else {"csrf": token}
    answer = await client.post(f"/console/jobs/{job_id}/retry", data=fields)
    assert answer.status_code == 403
    assert "Load it again" in answer.text


async def test_the_token_of_another_session_does_not_do(
    world: World, client: httpx.AsyncClient
) -> None:
    job_id = await failed_job(world)
    other = await signed_in(world, client)
    client.cookies.clear()
    await signed_in(world, client)
    answer = await client.post(f"/console/jobs/{job_id}/retry", data={"csrf": other.csrf})
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["/sign-in", "/link", "/sign-out"])
async def test_no_other_site_sends_a_form(
    world: World, client: httpx.AsyncClient, path: str
) -> None:
    console = await signed_in(world, client)
    answer = await console.client.post(
        f"/console{path}",
        data={"csrf": console.csrf},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert answer.status_code == 403


async def test_the_token_may_come_in_a_header(world: World, client: httpx.AsyncClient) -> None:
    job_id = await failed_job(world)
    console = await signed_in(world, client, "support")
    answer = await client.post(
        f"/console/jobs/{job_id}/retry", headers={"X-CSRF-Token": console.csrf}
    )
    assert answer.status_code == 303


async def test_a_form_that_is_sent_twice_makes_one_job(
    world: World, client: httpx.AsyncClient
) -> None:
    job_id = await failed_job(world)
    console = await signed_in(world, client)
    places = {
        (await console.post(f"/console/jobs/{job_id}/retry", {"once": "x"})).headers["location"]
        for _ in range(2)
    }
    assert len(places) == 1


@pytest.mark.parametrize("act", ["retry", "cancel"])
async def test_a_viewer_writes_nothing(world: World, client: httpx.AsyncClient, act: str) -> None:
    job_id = await failed_job(world)
    console = await signed_in(world, client, "viewer")
    answer = await console.post(f"/console/jobs/{job_id}/{act}")
    assert answer.status_code == 403
    assert "The role viewer may not do this" in answer.text


async def test_signing_out_ends_the_session(world: World, client: httpx.AsyncClient) -> None:
    console = await signed_in(world, client)
    token = client.cookies[SESSION]
    await console.post("/console/sign-out")
    client.cookies.set(SESSION, token)
    assert (await client.get("/console")).status_code == 303


async def test_every_answer_has_the_headers_of_pages(
    world: World, client: httpx.AsyncClient
) -> None:
    console = await signed_in(world, client)
    answers = [
        await client.get("/console"),
        await client.get("/console/nothing"),
        await client.get("/console/jobs?unknown=1"),
        await console.post("/console/theme", {"theme": "pink"}),
        await client.get("/console/sign-in"),
    ]
    assert [one.status_code for one in answers] == [200, 404, 400, 400, 200]
    for answer in answers:
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "body", [b"csrf=%ff", b"csrf=%00", b"a=1&" * 2_000, b"\xff\xfe", b"x" * 70_000]
)
async def test_a_broken_form_is_refused(
    world: World, client: httpx.AsyncClient, body: bytes
) -> None:
    await signed_in(world, client)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await client.post("/console/theme", content=body, headers=headers)
    assert 400 <= answer.status_code < 500


async def test_a_large_form_of_a_stranger_is_not_read(client: httpx.AsyncClient) -> None:
    answer = await client.post("/console/sign-in", data={"key": "x" * 20_000})
    assert answer.status_code == 413


async def test_methods_that_a_page_does_not_take(client: httpx.AsyncClient) -> None:
    refused = await client.post("/console/jobs")
    assert refused.status_code == 405
    assert "GET" in refused.headers["allow"]
    assert refused.headers["content-type"].startswith("text/html")
    options = await client.options("/console/jobs")
    assert (options.status_code, options.text) == (204, "")
    head = await client.head("/console/sign-in")
    assert (head.status_code, head.text) == (200, "")


async def test_a_path_beside_the_console_is_not_its_own(client: httpx.AsyncClient) -> None:
    answer = await client.get("/consoles")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_without_its_routers_there_is_no_console(world: World) -> None:
    transport = httpx.ASGITransport(create_app(world.deps))
    async with httpx.AsyncClient(transport=transport, base_url="https://gateway") as plain:
        assert (await plain.get("/console")).status_code == 404
