"""The receiver of webhooks, over HTTP."""

import asyncio
import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from gateway.cli.server.receiver import WebhookReceiver

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
EVENT = {"type": "job.succeeded", "timestamp": "2026-01-01T00:00:00.000Z", "data": {"id": "j-1"}}


@pytest.fixture
def secrets_file(tmp_path: Path) -> Path:
    return tmp_path / "secrets.json"


@pytest.fixture
async def client(secrets_file: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with _serving(WebhookReceiver(3, secrets_file)) as client:
        await client.post("/secrets", json={"acme": SECRET})
        yield client


class _serving:  # noqa: N801 - reads as a verb
    def __init__(self, receiver: WebhookReceiver) -> None:
        self._runner = web.AppRunner(
            receiver.app(), handler_cancellation=True, shutdown_timeout=1, access_log=None
        )

    async def __aenter__(self) -> httpx.AsyncClient:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self._client = httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=10)
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
        await self._runner.cleanup()


def _signed(secret: str, body: str, at: float | None = None) -> dict[str, str]:
    """Headers by the official library, as a sender other than ours would make them."""
    moment = datetime.fromtimestamp(at or time.time(), UTC)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", moment, body),
    }


async def _send(client: httpx.AsyncClient, path: str = "/hook/acme", **headers: str) -> int:
    body = json.dumps(EVENT)
    sent = {**_signed(SECRET, body), **headers}
    return (await client.post(path, content=body, headers=sent)).status_code


def _mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


async def _received(client: httpx.AsyncClient, after: int = 0) -> list[dict[str, Any]]:
    return (await client.get("/received", params={"after": after})).json()


async def test_a_signed_webhook_is_verified_and_listed(client: httpx.AsyncClient) -> None:
    assert await _send(client) == 200

    (one,) = await _received(client)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one.pop("receivedAt"))
    assert one == {
        "seq": 1,
        "path": "/hook/acme",
        "webhookId": "evt_1",
        "type": "job.succeeded",
        "verified": True,
        "reason": None,
        "status": 200,
        "jobId": "j-1",
        "body": EVENT,
    }


@pytest.mark.parametrize(
    ("path", "signed", "reason"),
    [
        ("/hook/acme", (OTHER, json.dumps(EVENT)), "no signature matches a known secret"),
        ("/hook/acme", (SECRET, "{}"), "no signature matches a known secret"),
        (
            "/hook/acme",
            (SECRET, json.dumps(EVENT), 1_000_000_000),
            "webhook-timestamp is too far from the present",
        ),
        ("/hook/acme", None, "header webhook-id is missing"),
        ("/hook/nobody", (SECRET, json.dumps(EVENT)), "no secret is known for this path"),
        ("/elsewhere", (SECRET, json.dumps(EVENT)), "no secret is known for this path"),
    ],
    ids=["secret", "body", "old", "unsigned", "slug", "path"],
)
async def test_an_unverified_webhook_is_kept_and_refused(
    client: httpx.AsyncClient, path: str, signed: tuple[Any, ...] | None, reason: str
) -> None:
    headers = _signed(*signed) if signed else {}
    answer = await client.post(path, content=json.dumps(EVENT), headers=headers)

    assert (answer.status_code, answer.json()) == (401, {"reason": reason})
    (one,) = await _received(client)
    assert (one["verified"], one["reason"], one["status"]) == (False, reason, 401)


async def test_several_secrets_of_a_path_are_all_good(client: httpx.AsyncClient) -> None:
    await client.post("/secrets", json={"acme": [OTHER, SECRET]})

    assert await _send(client, "/hook/acme/callback") == 200


async def test_a_body_that_is_no_event_is_kept_as_text(client: httpx.AsyncClient) -> None:
    await client.post("/hook/acme", content=b"\xffhello", headers=_signed(SECRET, "hello"))

    (one,) = await _received(client)
    assert (one["body"], one["type"], one["jobId"]) == ("\ufffdhello", None, None)


async def test_only_the_last_are_kept_but_all_are_counted(client: httpx.AsyncClient) -> None:
    for _ in range(5):
        await _send(client)

    assert [one["seq"] for one in await _received(client)] == [3, 4, 5]
    assert [one["seq"] for one in await _received(client, after=4)] == [5]
    assert (await client.get("/received/count")).json() == {"count": 5}


async def test_a_scripted_failure_ends_after_its_times(client: httpx.AsyncClient) -> None:
    await client.post("/behave", json={"path": "/hook/acme", "status": 503, "times": 2})
    await client.post("/behave", json={"path": "/hook/acme", "status": 410, "delaySeconds": 0.01})

    assert [await _send(client) for _ in range(4)] == [503, 503, 410, 200]
    assert await _send(client, "/hook/acme/other") == 200


async def test_a_scripted_failure_without_times_stays(client: httpx.AsyncClient) -> None:
    await client.post("/behave", json={"path": "/hook/acme", "status": 500, "times": None})

    assert [await _send(client) for _ in range(3)] == [500, 500, 500]


async def test_it_hangs_until_the_sender_gives_up(client: httpx.AsyncClient) -> None:
    await client.post("/behave", json={"path": "/hook/acme", "hang": True})

    with pytest.raises(httpx.ReadTimeout):
        await client.post("/hook/acme", content=b"{}", timeout=0.2)

    assert [one["status"] for one in await _received(client)] == [0]
    assert await _send(client) == 200


async def test_nonsense_is_answered_400(client: httpx.AsyncClient) -> None:
    assert (await client.get("/received?after=x")).status_code == 400
    assert (await client.post("/behave", json={"status": 500})).status_code == 400
    assert (await client.post("/secrets", content=b"{")).status_code == 400
    assert (await client.post("/secrets", json={"acme": "whsec_AAAA"})).status_code == 400


async def test_secrets_outlive_it_in_a_private_file(
    client: httpx.AsyncClient, secrets_file: Path
) -> None:
    assert _mode(secrets_file) == 0o600
    async with _serving(WebhookReceiver(10, secrets_file)) as again:
        assert await _send(again) == 200


async def test_the_command_says_where_it_listens() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "receive", "--port", "0"), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        address = json.loads(await process.stdout.readline())["receiver"]
        async with httpx.AsyncClient(base_url=address) as client:
            assert await _received(client) == []
    finally:
        process.terminate()
        await process.wait()
