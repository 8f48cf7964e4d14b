"""A test of an endpoint shows what happened, over real sockets."""

import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway import webhooks
from gateway.adapters.webhooks.sender import HttpSender
from gateway.ports import Reply, SendFault, Webhook
from tests.adapters.receiver import answering, receiving, sending
from tests.web.conftest import World, fields_of, problem
from tests.web.webhooks import HOOK

pytestmark = pytest.mark.asyncio(loop_scope="module")

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: own\r\n\r\nok"
_DOWN = b"HTTP/1.1 503 Down\r\nContent-Length: 5\r\nRetry-After: 5\r\n\r\nlater"
_PHASES = {"dnsMs", "connectMs", "tlsMs", "firstByteMs"}


@dataclass
class _Sending:
    """A sender that a test can replace, and a client of the application with it."""

    inner: HttpSender
    client: httpx.AsyncClient | None = None

    async def send(self, webhook: Webhook, within: float | None = None) -> Reply | SendFault:
        return await self.inner.send(webhook, within)

    async def refusal(self, url: str) -> str | None:
        return await self.inner.refusal(url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real(module_world: World) -> AsyncIterator[_Sending]:
    """A sender that really sends, also to this machine."""
    async with sending(timeout=2.0) as sender:
        made = _Sending(sender)
        made.client = await module_world.serve(sender=made)
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def calling(world: World, real: _Sending) -> World:
    assert real.client is not None
    world.client = real.client
    return world


async def _made(world: World, slug: str, url: str, **fields: Any) -> dict[str, Any]:
    return await world.send("POST", "/v1/endpoint", slug, HOOK | {"url": url} | fields)


async def test_a_good_receiver(calling: World, acme: str) -> None:
    async with receiving(answering(_OK)) as receiver:
        made = await _made(calling, acme, receiver.url(), headers={"x-key": "hush"})

        answer = await calling.call("POST", f"/v1/endpoint/{made['id']}/test", acme)

    trial = answer.json()
    assert "hush" not in answer.text
    sent = trial["request"]
    event = webhooks.verify(sent["body"], sent["headers"], made["secret"])
    assert event["type"] == trial["type"] == "test.ping"
    assert event["data"] == {"test": True, "tenant": acme}
    assert sent["headers"]["webhook-id"] == trial["eventId"]
    assert sent["headers"]["x-key"] == "[hidden]"
    assert trial["delivered"] is True
    response = trial["response"]
    assert (response["status"], response["body"]) == (200, "ok")
    assert {name.lower(): value for name, value in response["headers"].items()}["server"] == "own"
    assert (trial["errorClass"], trial["detail"]) == (None, None)
    assert trial["timings"].keys() == _PHASES
    assert trial["timings"]["firstByteMs"] > 0
    assert trial["timings"]["tlsMs"] is None
    kept = await calling.get(f"/v1/delivery/{trial['deliveryId']}", acme)
    assert (kept["state"], kept["outcome"]) == ("delivered", "delivered")
    assert kept["requestBody"] == sent["body"]
    (attempt,) = kept["attempts"]
    assert attempt["timings"] == trial["timings"]
    assert attempt["requestHeaders"] == sent["headers"]


async def test_a_receiver_that_is_down_is_a_result(calling: World, acme: str) -> None:
    async with receiving(answering(_DOWN)) as receiver:
        made = await _made(calling, acme, receiver.url())
        path = f"/v1/endpoint/{made['id']}"

        trial = await calling.send("POST", f"{path}/test", acme, {"type": "job.failed"})

    assert (trial["delivered"], trial["errorClass"]) == (False, "http_5xx")
    assert (trial["response"]["status"], trial["response"]["body"]) == (503, "later")
    job = json.loads(trial["request"]["body"])["data"]
    assert (job["status"], job["metadata"]) == ("FAILED", {"test": True})
    kept = await calling.get(f"/v1/delivery/{trial['deliveryId']}", acme)
    assert (kept["state"], kept["nextAttemptAt"]) == ("exhausted", None)
    assert (await calling.get(path, acme))["failures"] == 0


async def test_a_refused_connection_is_a_result(calling: World, acme: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        made = await _made(calling, acme, f"http://127.0.0.1:{closed.getsockname()[1]}/")

        trial = await calling.send("POST", f"/v1/endpoint/{made['id']}/test", acme, {})

    assert (trial["delivered"], trial["errorClass"], trial["response"]) == (False, "connect", None)
    assert trial["detail"]
    assert trial["timings"]["firstByteMs"] is None


async def test_a_forbidden_address_is_a_result(calling: World, real: _Sending, acme: str) -> None:
    open_to_all = real.inner
    async with receiving() as receiver:
        made = await _made(calling, acme, receiver.url())
        async with sending(allow_private=False, allowed_ports=frozenset({receiver.port})) as sender:
            real.inner = sender
            trial = await calling.send("POST", f"/v1/endpoint/{made['id']}/test", acme, {})
            again = await calling.call("POST", "/v1/endpoint", acme, json={"url": receiver.url()})
            real.inner = open_to_all

    assert (trial["errorClass"], trial["response"]) == ("blocked", None)
    assert fields_of(problem(again, 400, "BAD_REQUEST")) == ["url"]
    assert receiver.connections == 0


async def test_a_disabled_endpoint_can_be_tested_too(calling: World, acme: str) -> None:
    async with receiving(answering(_OK)) as receiver:
        made = await _made(calling, acme, receiver.url())
        path = f"/v1/endpoint/{made['id']}"
        await calling.send("POST", f"{path}/disable", acme)

        trial = await calling.send("POST", f"{path}/test", acme)

    assert trial["delivered"] is True
    assert (await calling.get(path, acme))["disabled"] is True


async def test_an_endpoint_without_a_secret_is_a_conflict(calling: World, acme: str) -> None:
    made = await _made(calling, acme, "http://127.0.0.1:9/")
    rotate = {"overlapSeconds": 0}
    await calling.send("POST", f"/v1/endpoint/{made['id']}/rotate-secret", acme, rotate)
    async with calling.deps.db.begin() as tx:
        await tx.run("DELETE FROM signing_secret WHERE endpoint_id = $1", made["id"])

    answer = await calling.call("POST", f"/v1/endpoint/{made['id']}/test", acme)

    problem(answer, 409, "CONFLICT")
