"""Request bodies: read after authentication, within their limits, and always answered."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.errors import Unavailable
from gateway.web.app import create_app
from gateway.web.asgi import read_body
from gateway.web.asgi.read_body import BodyRoom
from gateway.web.capacity.limits import HttpLimits
from tests.web.conftest import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

_LARGEST = 1000


@dataclass
class Exchange:
    """One request whose ASGI messages the test gives, and the answer."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    left: int = 0
    left_when_answered: int = 0


async def exchange(
    world: World, headers: dict[str, str], *messages: Any, path: str = "/v1/job"
) -> Exchange:
    app = create_app(world.deps, HttpLimits(max_body_bytes=_LARGEST))
    waiting, seen = list(messages), Exchange()

    async def receive() -> Any:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            seen.status = message["status"]
            seen.headers = dict(message["headers"])
            seen.left_when_answered = len(waiting)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    scope["headers"].append((b"host", b"gateway"))
    await app(scope, receive, send)
    assert app.in_flight == 0
    seen.left = len(waiting)
    return seen


_PART = {"type": "http.request", "body": b" " * 600, "more_body": True}
_LAST = {"type": "http.request", "body": b" " * 600, "more_body": False}
_GONE = {"type": "http.disconnect"}
_CHUNKED = {"transfer-encoding": "chunked"}


def _keyed(world: World, slug: str, **headers: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"authorization": world.keys[slug], **named}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/job", 401), ("/v1/endpoint", 401), ("/admin/v1/tenant", 401), ("/v1/nothing", 404)],
)
async def test_a_request_refused_by_its_head_is_answered_before_its_body(
    world: World, path: str, status: int
) -> None:
    seen = await exchange(world, {"content-length": "1200"}, _PART, _LAST, path=path)

    assert (seen.status, seen.left_when_answered) == (status, 2)
    assert seen.left == 0, "it is read and thrown away, so that the answer is heard"
    assert b"connection" not in seen.headers


async def test_a_key_without_the_scope_is_refused_before_the_body(world: World, acme: str) -> None:
    seen = await exchange(
        world, _keyed(world, acme, content_length="1200"), _PART, _LAST, path="/admin/v1/tenant"
    )

    assert (seen.status, seen.left_when_answered) == (403, 2)


async def test_an_announced_length_over_the_cap_is_refused_at_once(world: World, acme: str) -> None:
    headers = _keyed(world, acme, content_length="1800")

    seen = await exchange(world, headers, _PART, _PART, _LAST)

    assert (seen.status, seen.left_when_answered, seen.left) == (413, 3, 0)
    assert seen.headers[b"connection"] == b"close"


async def test_the_cap_counts_bytes_and_not_the_announced_length(world: World, acme: str) -> None:
    seen = await exchange(world, _keyed(world, acme, content_length="10"), _PART, _LAST)

    assert seen.status == 413


@pytest.mark.parametrize("key", [True, False])
async def test_a_caller_that_expects_100_is_refused_before_it_sends(
    world: World, acme: str, key: bool
) -> None:
    headers = {"content-length": "1800", "expect": "100-continue"}
    headers |= _keyed(world, acme) if key else {}

    seen = await exchange(world, headers, _PART, _LAST)

    assert (seen.status, seen.left) == (413 if key else 401, 2)
    assert seen.headers[b"connection"] == b"close"


async def test_a_body_without_end_is_cut_off(world: World, acme: str) -> None:
    huge = {"type": "http.request", "body": bytes(40_000_000), "more_body": True}

    seen = await exchange(world, _keyed(world, acme) | _CHUNKED, huge, huge, huge, huge)

    assert (seen.status, seen.left_when_answered, seen.left) == (413, 3, 1)


@pytest.mark.parametrize("size", ["9" * 40, "nine"])
async def test_a_malformed_length_does_not_disable_the_cap(
    world: World, acme: str, size: str
) -> None:
    seen = await exchange(world, _keyed(world, acme, content_length=size), _PART, _LAST)

    assert seen.status == 413


async def test_a_body_that_does_not_arrive_times_out(
    world: World, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_body, "_READ_SECONDS", 0.01)

    seen = await exchange(world, _keyed(world, acme) | _CHUNKED, _PART)

    assert (seen.status, seen.headers[b"connection"]) == (408, b"close")


async def test_discarding_a_body_has_a_time_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_body, "_DISCARD_SECONDS", 0.01)

    assert (await exchange(world, _CHUNKED, _PART)).status == 401


@pytest.mark.parametrize("messages", [(_GONE,), (_PART, _GONE)])
async def test_a_body_that_breaks_off_is_400(world: World, acme: str, messages: Any) -> None:
    seen = await exchange(world, _keyed(world, acme) | _CHUNKED, *messages)

    assert seen.status == 400
    assert seen.headers[b"content-type"] == b"application/problem+json"
    assert b"x-request-id" in seen.headers
    assert [outcome for work, outcome, _ in world.observer.seen if work == "http"] == ["400"]


async def test_a_body_that_breaks_off_after_the_answer_is_no_error(world: World) -> None:
    assert (await exchange(world, _CHUNKED, _PART, _GONE)).status == 401


async def test_an_owner_may_hold_as_much_as_is_free() -> None:
    room = BodyRoom(largest=10, most=100)

    for _ in range(5):
        room.take("a", 10)
    with pytest.raises(Unavailable) as refused:
        room.take("a", 10)
    for owner in ("b", "c"):
        room.take(owner, 10)

    assert refused.value.retry_after == 1
    room.give_back("a", 50)
    for _ in range(4):
        room.take("b", 10)


async def test_four_bodies_of_the_largest_size_always_fit() -> None:
    room = BodyRoom(largest=10, most=1)

    for owner in "abcd":
        room.take(owner, 10)
    with pytest.raises(Unavailable):
        room.take("e", 1)
