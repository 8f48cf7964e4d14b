"""The page that checks signatures: it tells what differs, and forgets the secret."""

import base64
import json
import logging

import httpx
import pytest

from gateway.core.webhooks.signing import HmacKey, format_secret, sign
from tests.console.conftest import signed_in
from tests.web.conftest import NOBODY, World
from tests.web.webhooks import BODY, delivery, endpoint, tried

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEY = HmacKey(b"s" * 32)
SECRET = format_secret(KEY)


async def signed(world: World) -> tuple[str, dict[str, str]]:
    """The id of a delivery that was sent once, and the headers that it was sent with."""
    slug = await world.tenant("acme")
    made = await delivery(world, slug, await endpoint(world, slug))
    event_id = (await world.get(f"/v1/delivery/{made}", slug))["eventId"]
    at = int(world.deps.clock.now().timestamp())
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": str(at),
        "webhook-signature": sign([KEY], event_id, at, BODY.encode()),
    }
    await tried(world, slug, made, request_headers=json.dumps(headers))
    return made, headers


def lines(headers: dict[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


async def test_what_differs_is_told_and_the_secret_forgotten(
    world: World, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made, headers = await signed(world)
    console = await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/signature?delivery={made}")).text
    assert headers["webhook-signature"] in page
    wrong = format_secret(HmacKey(b"w" * 32))
    for secret, body, expected in (
        (SECRET, BODY, "The signature is right"),
        (SECRET, f"{BODY}\r\n", "The body was changed"),
        (wrong, BODY, "The secret is another one"),
    ):
        form = {"delivery": made, "headers": lines(headers), "body": body, "secret": secret}
        answer = await console.post("/console/signature", form)
        assert answer.status_code == 200
        assert expected in answer.text
        for form_of_it in (secret, secret.removeprefix("whsec_")):
            assert form_of_it not in answer.text
            assert form_of_it not in caplog.text
            assert base64.b64encode(form_of_it.encode()).decode() not in answer.text


async def test_a_request_without_a_delivery_is_checked_by_itself(
    world: World, client: httpx.AsyncClient
) -> None:
    _, headers = await signed(world)
    console = await signed_in(world, client, "viewer")
    form = {"headers": lines(headers), "body": f" {BODY}", "secret": SECRET}
    page = (await console.post("/console/signature", form)).text
    assert "spaces or line ends around it" in page
    hostile = '<script>alert(1)</script>\u202e","'
    form = {"headers": f"{lines(headers)}\n{hostile}: {hostile}", "body": hostile, "secret": "x"}
    page = (await console.post("/console/signature", form)).text
    assert "<script>alert" not in page
    assert "The secret cannot be one" in page


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 200),
        ({"delivery": "x"}, 400),
        ({"delivery": NOBODY}, 404),
        ({"body": "w" * 300_001}, 400),
        ({"headers": "webhook-id", "secret": "\ud7ff"}, 200),
    ],
)
async def test_bad_input_is_told(
    world: World, client: httpx.AsyncClient, form: dict[str, str], status: int
) -> None:
    console = await signed_in(world, client)
    answer = await console.post("/console/signature", form)
    assert answer.status_code == status, answer.text


async def test_another_site_cannot_have_a_signature_checked(
    world: World, client: httpx.AsyncClient
) -> None:
    await signed_in(world, client)
    answer = await client.post("/console/signature", data={"secret": SECRET})
    assert answer.status_code == 403
    assert SECRET not in answer.text
