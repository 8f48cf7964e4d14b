"""Endpoints without a browser: the list, one endpoint, what can be done, and who may do it."""

import html
import re
from datetime import timedelta

import httpx
import pytest

from gateway.core.webhooks.receiver_probe import (
    FoundAddresses,
    ProbedTls,
    ReceiverProbe,
    ServerCertificate,
    TriedAddress,
)
from tests.console.conftest import signed_in
from tests.web.conftest import NOBODY, World
from tests.web.webhooks import delivery, endpoint, failed, succeeded

pytestmark = pytest.mark.asyncio(loop_scope="module")
_EVER = "2001-01-01T00:00:00Z"


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page but the token."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in found if name != "csrf"}


async def test_ten_thousand_endpoints_are_listed_in_pages(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("crowd")
    first = await endpoint(world, slug)
    async with world.deps.db.begin() as tx:
        await tx.run(
            "INSERT INTO endpoint (id, tenant_id, url, description, events, failing_since, failures)"
            " SELECT gen_random_uuid(), tenant_id, 'https://many.example/' || n, repeat('w', 1024),"
            " '{}', CASE WHEN n % 100 = 0 THEN now() END, n % 100 FROM endpoint, generate_series(1, 10000) AS n"
            " WHERE id = $1",
            first,
        )
    await signed_in(world, client, "viewer")
    page = (await client.get("/console/endpoints")).text
    assert page.count("data-row") == 50
    assert ">Older<" in page
    page = (await client.get(f"/console/endpoints?tenant={slug}&health=failing")).text
    assert page.count("data-row") == 50
    page = (await client.get(f"/console/endpoints?tenant={slug}&url=MANY.example/777")).text
    assert page.count("data-row") == 11


@pytest.mark.parametrize(
    ("query", "status"),
    [("health=ill", 400), ("cursor=x", 400), ("tenant=nobody-at-all", 404), ("x=1", 400)],
)
async def test_a_wrong_filter_is_refused(
    world: World, client: httpx.AsyncClient, query: str, status: int
) -> None:
    await signed_in(world, client)
    for screen in ("endpoints", "bulk") if "health" not in query else ("endpoints",):
        assert (await client.get(f"/console/{screen}?{query}")).status_code == status


async def test_an_endpoint_shows_its_attempts_and_what_it_has_not_received(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    to = await endpoint(world, slug)
    await succeeded(world, slug, to)
    await failed(world, slug, to)
    await delivery(world, slug, to)
    await delivery(world, slug, to, state="parked")
    await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/endpoints/{to}")).text
    assert "Last 2 attempts" in page
    assert "50.0 %" in page
    assert page.count("<rect") == 2
    tiles = re.findall(r'class="value[^"]*">([^<]*)<', page)
    assert tiles[2:] == ["1", "1", "1"]
    assert "Count them" not in page
    assert "Rotate" not in page


async def test_everything_undelivered_is_counted_then_sent(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    to, other = await endpoint(world, slug), await endpoint(world, slug)
    for _ in range(3):
        await failed(world, slug, to)
    await failed(world, slug, other)
    await succeeded(world, slug, to)
    console = await signed_in(world, client, "support")
    path = f"/console/endpoints/{to}/send"
    page = (await client.get(f"{path}?since={_EVER}")).text
    assert "Send 3 webhooks" in page
    assert "3 dead letter" in page
    await failed(world, slug, to)  # made after the count, so it is not sent
    begun = await console.post(path, hidden(page))
    assert begun.status_code == 303
    progress = (await client.get(begun.headers["location"])).text
    assert "0</strong> of 3" in progress
    assert to in progress
    assert "under way" in (await client.get(f"/console/endpoints/{to}")).text
    stopped = await console.post(f"{begun.headers['location']}/stop")
    assert "stopped" in (await client.get(stopped.headers["location"])).text
    assert (await console.post(f"{begun.headers['location']}/stop")).status_code == 409
    notes = await world.get(f"/admin/v1/audit?tenant={slug}", world.operator)
    assert [one["action"] for one in notes][:3] == ["bulk.stopped", "bulk.stopped", "bulk.started"]
    listed = (await client.get(f"/console/bulk?tenant={slug}&state=stopped")).text
    assert "send everything undelivered" in listed


async def test_events_that_it_never_got_are_counted(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    await delivery(world, slug, await endpoint(world, slug))
    to = await endpoint(world, slug)
    await signed_in(world, client, "support")
    page = (
        await client.get(f"/console/endpoints/{to}/send?kind=replay-missing&since={_EVER}")
    ).text
    assert "Send 1 webhook<" in page


@pytest.mark.parametrize(
    "form",
    [
        {"kind": "all", "since": _EVER, "until": "2002-01-01T00:00:00Z"},
        {"kind": "recover", "since": "yesterday", "until": _EVER},
        {"kind": "recover", "since": _EVER, "until": _EVER},
        {"kind": "recover", "since": "2999-01-01T00:00:00Z", "until": "2999-01-02T00:00:00Z"},
        {},
    ],
)
async def test_a_wrong_span_is_refused(
    world: World, client: httpx.AsyncClient, form: dict[str, str]
) -> None:
    to = await endpoint(world, await world.tenant("acme"))
    console = await signed_in(world, client)
    assert (await console.post(f"/console/endpoints/{to}/send", form)).status_code == 400


async def test_an_operator_changes_an_endpoint_and_the_audit_has_both_values(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    to = await endpoint(world, slug)
    console = await signed_in(world, client)
    before = await world.get(f"/v1/endpoint/{to}", slug)
    form = {
        "url": before["url"],
        "description": "<b>new</b>",
        "event.job.failed": "on",
        "schedule": "5, 60",
        "rateLimit": "7",
        "concurrency": "",
    }
    assert (await console.post(f"/console/endpoints/{to}/edit", form)).status_code == 303
    after = await world.get(f"/v1/endpoint/{to}", slug)
    assert (after["description"], after["events"]) == ("<b>new</b>", ["job.failed"])
    assert (after["schedule"], after["rateLimit"]) == ([5, 60], 7)
    page = (await client.get(f"/console/endpoints/{to}/edit")).text
    assert 'value="5, 60"' in page
    assert "<b>new" not in page
    [note] = await world.get(
        f"/admin/v1/audit?tenant={slug}&action=endpoint.changed", world.operator
    )
    assert note["detail"]["changes"]["rate_limit"] == {"from": None, "to": 7}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", ""),
        ("rateLimit", "many"),
        ("rateLimit", "0"),
        ("concurrency", "101"),
        ("schedule", "5; 6"),
        ("schedule", "0"),
        ("description", "w" * 1025),
    ],
)
async def test_a_wrong_setting_is_told_beside_its_field_and_stays_typed(
    world: World, client: httpx.AsyncClient, name: str, value: str
) -> None:
    slug = await world.tenant("acme")
    to = await endpoint(world, slug)
    console = await signed_in(world, client)
    form = {"url": (await world.get(f"/v1/endpoint/{to}", slug))["url"], name: value}
    answer = await console.post(f"/console/endpoints/{to}/edit", form)
    assert answer.status_code == 400
    assert f'id="fault-{name}"' in answer.text
    assert f'value="{value}"' in answer.text


async def test_a_rotation_shows_the_new_secret_once(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    to = await endpoint(world, slug)
    console = await signed_in(world, client)
    path = f"/console/endpoints/{to}"
    assert (await console.post(f"{path}/rotate", {"overlap": "5"})).status_code == 400
    page = (await console.post(f"{path}/rotate", {"overlap": "3600"})).text
    [secret] = re.findall(r'id="secret">(whsec_[^<]+)<', page)
    assert "signs as well for 1 hour" in page
    assert secret not in (await client.get(path)).text
    notes = await world.get(f"/admin/v1/audit?tenant={slug}", world.operator)
    assert secret not in str(notes)


async def test_a_disabled_endpoint_says_why_and_is_enabled(
    world: World, client: httpx.AsyncClient
) -> None:
    to = await endpoint(world, await world.tenant("acme"))
    console = await signed_in(world, client)
    path = f"/console/endpoints/{to}"
    assert (await console.post(f"{path}/disable", {"reason": "r" * 201})).status_code == 400
    await console.post(f"{path}/disable", {"reason": "it <b>moves</b>"})
    page = (await client.get(path)).text
    assert "it &lt;b&gt;moves&lt;/b&gt;" in page
    assert "Count them" not in page
    assert (await client.get(f"{path}/send?since={_EVER}")).status_code == 409
    await console.post(f"{path}/enable")
    assert "It is well." in (await client.get(path)).text


async def test_a_test_event_leads_to_its_delivery(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    to = await endpoint(world, slug)
    console = await signed_in(world, client, "support")
    path = f"/console/endpoints/{to}/test"
    assert (await console.post(path, {"type": "job.exploded"})).status_code == 400
    sent = await console.post(path, {"type": "job.failed"})
    assert sent.status_code == 303, sent.text
    [listed] = await world.get(f"/v1/delivery?endpoint={to}", slug)
    assert sent.headers["location"] == f"/console/deliveries/{listed['id']}"
    assert "This is a test" in (await client.get(sent.headers["location"])).text


async def test_a_check_shows_each_step_and_is_audited(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    to = await endpoint(world, slug)
    names = ("<b>hooks</b>.example", "hooks.example.com")
    certificate = ServerCertificate(names, "<i>CA", world.deps.clock.now() + timedelta(days=3))
    world.sender.probed["https://hooks.example.com/a"] = ReceiverProbe(
        is_tls=True,
        lookup=FoundAddresses(("192.0.2.1",), 0.01),
        tried=(TriedAddress("192.0.2.1", 0.01),),
        tls=ProbedTls(0.01, "TLSv1.3", certificate),
    )
    console = await signed_in(world, client, "support")
    answer = await console.post(f"/console/endpoints/{to}/check")
    assert answer.status_code == 200
    page = answer.text
    assert "somebody has to look at something soon" in page
    assert "&lt;b&gt;hooks" in page
    assert "<i>CA" not in page
    assert re.findall(r'class="pill \w+">(\w+)<', page) == ["ok", "ok", "ok", "warn", "ok"]
    [listed] = await world.get(f"/v1/delivery?endpoint={to}", slug)
    assert f"/console/deliveries/{listed['id']}" in page
    notes = await world.get(f"/admin/v1/audit?tenant={slug}", world.operator)
    assert next(one["action"] for one in notes) == "endpoint.checked"


@pytest.mark.parametrize(
    ("act", "role"),
    [
        ("test", "viewer"),
        ("check", "viewer"),
        ("send", "viewer"),
        ("enable", "support"),
        ("disable", "support"),
        ("edit", "support"),
        ("rotate", "support"),
    ],
)
async def test_a_lower_role_may_not(
    world: World, client: httpx.AsyncClient, act: str, role: str
) -> None:
    to = await endpoint(world, await world.tenant("acme"))
    console = await signed_in(world, client, role)
    assert (await console.post(f"/console/endpoints/{to}/{act}")).status_code == 403


@pytest.mark.parametrize("path", ["endpoints", "deliveries", "bulk"])
async def test_what_does_not_exist_is_a_page_that_says_so(
    world: World, client: httpx.AsyncClient, path: str
) -> None:
    await signed_in(world, client)
    answer = await client.get(f"/console/{path}/{NOBODY}")
    assert answer.status_code == 404
    assert "There is no such" in answer.text
