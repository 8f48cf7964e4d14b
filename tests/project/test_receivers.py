"""The receivers of docs/receivers.md: those in Python run, and the others name what verify.md has."""

import asyncio
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core.webhooks.signing import format_secret, sign

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^## (.+?)\n.*?^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS: dict[str, str] = dict(SECTION.findall((ROOT / "docs/receivers.md").read_text()))
VERIFY: dict[str, str] = dict(SECTION.findall((ROOT / "docs/verify.md").read_text()))
KEY, ID = bytes(range(24)), "019aab0e-4d5c-7cc0-8f7a-0d9f2b6f1a11"
BODY = '{"type":"job.succeeded", "data": {"name": "ü"}}'.encode()
URL = "http://receiver.example/hooks/jobs"

Send = Callable[[bytes, dict[str, str]], int]


def headers(body: bytes) -> dict[str, str]:
    now = int(time.time())
    signature = sign([KEY], ID, now, body)
    return {
        "webhook-id": ID,
        "webhook-timestamp": str(now),
        "webhook-signature": signature,
        "content-type": "application/json",
    }


def app_of(title: str, store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(os.environ, "WEBHOOK_SECRETS", format_secret(KEY))
    names: dict[str, Any] = {"store": store, "__name__": "receiver"}
    exec(compile(SNIPPETS[title], title, "exec"), names)
    return names["app"]


def fastapi(stored: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Send:
    async def store(id_: str, event: Any) -> None:
        stored.append((id_, event))

    app = app_of("FastAPI", store, monkeypatch)

    async def post(body: bytes, given: dict[str, str]) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            return (await client.post(URL, content=body, headers=given)).status_code

    return lambda body, given: asyncio.run(post(body, given))


def flask(stored: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Send:
    app = app_of("Flask", lambda id_, event: stored.append((id_, event)), monkeypatch)

    def post(body: bytes, given: dict[str, str]) -> int:
        with httpx.Client(transport=httpx.WSGITransport(app)) as client:
            return client.post(URL, content=body, headers=given).status_code

    return post


@pytest.mark.parametrize("made", [fastapi, flask])
def test_a_receiver_stores_what_is_signed_and_refuses_the_rest(
    made: Callable[[list[tuple[str, Any]], pytest.MonkeyPatch], Send],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored: list[tuple[str, Any]] = []
    send = made(stored, monkeypatch)
    assert send(BODY, headers(BODY)) == 204
    ((id_, event),) = stored
    assert (id_, event["type"], event["data"]) == (ID, "job.succeeded", {"name": "ü"})
    assert send(BODY + b" ", headers(BODY)) == 401
    assert send(BODY, headers(BODY) | {"webhook-signature": ""}) == 401
    assert len(stored) == 1


@pytest.mark.parametrize(
    ("title", "language", "call"),
    [
        ("Express", "Node", "verify(secret, id, timestamp, signature, req.body)"),
        ("Rails", "Ruby", 'verify(ENV.fetch("WEBHOOK_SECRET"), id, timestamp, signature, body)'),
        ("Spring", "Java", "Webhooks.verify(secret, id, timestamp, signature, body)"),
        ("Go", "Go", "Verify(secret, id, "),
        ("Laravel", "PHP", "verify(config('services.jobs.secret'), $id, $timestamp, $signature"),
    ],
)
def test_the_others_call_what_verify_md_has_with_its_arguments(
    title: str, language: str, call: str
) -> None:
    assert call in SNIPPETS[title]
    name = call.partition("(")[0].rpartition(".")[2]
    parameters = re.search(rf"\b{name}\((.*?)\)", VERIFY[language], re.DOTALL)
    assert parameters is not None
    order = [
        parameters[1].find(word) for word in ("secret", "id", "timestamp", "signature", "body")
    ]
    assert order == sorted(order), "the arguments are given in this order"


def test_every_receiver_is_known_here() -> None:
    assert set(SNIPPETS) == {"FastAPI", "Flask", "Express", "Rails", "Spring", "Go", "Laravel"} | {
        "When a receiver was down"
    }
