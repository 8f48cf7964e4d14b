"""GET /event/stream on the real server: its events, how it resumes, and how it ends."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from gateway.core.model import KeyKind
from gateway.errors import StreamsFull
from gateway.flows.process.slots import Slots
from gateway.web.respond import sse
from gateway.web.respond.concurrency_limits import stream_limit
from tests.web.conftest import World, fields_of, problem
from tests.web.live import live, until
from tests.web.routes.test_event_feed import add, added, feed

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SECONDS = 30


@dataclass
class Stream:
    """A stream that is being read; `last_id` is where a browser would resume."""

    lines: AsyncIterator[str]
    last_id: str = ""
    heartbeats: int = 0
    retry: str = ""
    event: dict[str, str] = field(default_factory=dict[str, str])

    async def next(self) -> dict[str, str] | None:
        """The fields of the next event; None at the end, or where it is cut off."""
        async with asyncio.timeout(_SECONDS):
            while (line := await anext(self.lines, None)) is not None:
                if not line and "data" in self.event:
                    event, self.event = self.event, {}
                    return event
                self.read(line)
        return None

    def read(self, line: str) -> None:
        """Take one line."""
        name, _, value = line.partition(": ")
        if name == ":":
            self.heartbeats += 1
        elif name == "retry":
            self.retry = value
        elif name:
            self.event[name] = value
            self.last_id = value if name == "id" else self.last_id


@asynccontextmanager
async def streaming(
    client: httpx.AsyncClient, key: str, query: str = "", **headers: str
) -> AsyncGenerator[Stream]:
    """An open stream."""
    headers["Authorization"] = key
    async with client.stream("GET", f"/v1/event/stream?{query}", headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        stream = Stream(answer.aiter_lines())
        while not stream.last_id:
            stream.read(await anext(stream.lines))
        stream.event.clear()
        yield stream


def client_of(port: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=_SECONDS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(module_world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with live(module_world.deps) as port, client_of(port) as made:
        yield made


async def test_events_are_sent_when_they_are_stored(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    await added(world, acme)
    await feed(world, acme, count=1)  # the stream would send it otherwise
    async with streaming(client, world.keys[acme]) as stream:
        event_id = await added(world, acme, "job.started", '{"a":\r\n{"b": "\\n"}}')
        event = await stream.next()

    assert stream.retry == "2000"
    assert event is not None
    assert (event["id"], event["event"]) == (event_id, "job.started")
    assert json.loads(event["data"]) in await world.get("/v1/event", acme)


async def test_it_resumes_after_the_last_id(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    made = [await added(world, acme) for _ in range(3)]
    key = world.keys[acme]

    async with streaming(client, key, f"after={made[2]}", **{"Last-Event-ID": made[0]}) as stream:
        assert [(await stream.next() or {})["id"] for _ in range(2)] == made[1:]
    async with streaming(client, key, f"after={made[1]}&type=test.ping") as stream:
        assert (await stream.next() or {})["id"] == made[2]


async def test_nothing_is_missed_before_the_first_event(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    async with streaming(client, world.keys[acme]) as stream:
        mark = stream.last_id
    event_id = await added(world, acme)

    async with streaming(client, world.keys[acme], **{"Last-Event-ID": mark}) as stream:
        assert (await stream.next() or {})["id"] == event_id


@pytest.mark.parametrize(
    ("value", "sent_as"), [("x", "after"), (str(UUID(int=9)), "Last-Event-ID")]
)
async def test_a_bad_place_is_refused(
    world: World, client: httpx.AsyncClient, acme: str, value: str, sent_as: str
) -> None:
    params, headers = ({"after": value}, {}) if sent_as == "after" else ({}, {sent_as: value})
    headers["Authorization"] = world.keys[acme]

    answer = await client.get("/v1/event/stream", params=params, headers=headers)

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [sent_as]


async def test_head_ends_at_once(world: World, client: httpx.AsyncClient, acme: str) -> None:
    headers = {"Authorization": world.keys[acme]}

    answer = await client.head("/v1/event/stream", headers=headers)

    assert (answer.status_code, answer.content) == (200, b"")


async def test_comments_keep_the_connection_open(
    world: World, client: httpx.AsyncClient, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.01)
    async with streaming(client, world.keys[acme]) as stream:
        async with asyncio.timeout(_SECONDS):
            while stream.heartbeats < 3:
                stream.read(await anext(stream.lines))


async def test_a_tenant_has_twenty_streams_and_a_closed_one_frees_its_place(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    async with AsyncExitStack() as stack:
        mine = [
            await stack.enter_async_context(streaming(client, world.keys[acme])) for _ in range(20)
        ]
        headers = {"Authorization": world.keys[acme]}
        refused = await client.get("/v1/event/stream", headers=headers)
        problem(refused, 429, "RATE_LIMITED")
        assert refused.headers["retry-after"] == "5"
        assert refused.headers["ratelimit-policy"] == '"streams";q=20'
        assert refused.headers["ratelimit"] == '"streams";r=0;t=5'
        service = await world.key(KeyKind.SERVICE)
        async with streaming(client, service, f"tenant={acme}") as other:
            event_id = await added(world, acme)
            for stream in (mine[0], other):
                assert (await stream.next() or {})["id"] == event_id

    async def is_free() -> bool:
        return (await client.head("/v1/event/stream", headers=headers)).is_success

    await until(is_free)


async def test_the_process_limits_its_streams() -> None:
    streams = stream_limit(1)
    with streams.room("acme"), pytest.raises(StreamsFull) as refused, streams.room("globex"):
        pass
    assert refused.value.quota == 1
    with streams.room("globex"), pytest.raises(StreamsFull), streams.room("acme"):
        pass


async def test_a_key_that_is_revoked_ends_it(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    async with streaming(client, world.keys[acme]) as stream:
        await world.send(
            "DELETE", f"/admin/v1/key/{world.keys[acme].split('_')[1]}", world.operator
        )
        await added(world, acme)

        assert await stream.next() is None


async def test_a_stopping_process_ends_it(world: World, acme: str) -> None:
    deps = replace(world.deps, slots=Slots(world.deps.clock))
    async with (
        live(deps) as port,
        client_of(port) as client,
        streaming(client, world.keys[acme]) as stream,
    ):
        deps.slots.closing = True

        assert await stream.next() is None


class TestOneWhoDoesNotRead:
    async def test_is_cut_off_and_resumes_without_a_gap(
        self, world: World, client: httpx.AsyncClient, acme: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sse, "SEND_SECONDS", 0.3)
        start, *made = await fill(world, acme)
        with await unread(client.base_url.port or 0, world.keys[acme], start) as connection:
            await _until_over(world)
            seen = _whole_events(await _rest(connection))

        assert 0 < len(seen) < len(made)
        async with streaming(client, world.keys[acme], f"after={seen[-1]}") as again:
            while len(seen) < len(made):
                seen.append((await again.next() or {})["id"])
        assert seen == made


async def fill(world: World, slug: str) -> list[str]:
    """The ids of more events than the buffers between two processes hold."""
    data = json.dumps("x" * 19_000)
    async with world.deps.db.begin() as tx:
        made = [await add(world, tx, slug, data=data) for _ in range(350)]

    async def are_shown() -> bool:
        return len(await world.get("/v1/event?size=1000", slug)) == len(made)

    await until(are_shown)
    return made


async def unread(port: int, key: str, after: str) -> socket.socket:
    """A connection that requested a stream and reads nothing of it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    ask = f"GET /v1/event/stream?after={after} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n"
    await loop.sock_sendall(connection, ask.encode())
    return connection


async def _until_over(world: World) -> None:
    """Wait until the application has ended a stream."""

    async def is_over() -> bool:
        seen = world.observer.seen
        return any(work == "http" and "stream" in str(more) for work, _, more in seen)

    await until(is_over)


async def _rest(connection: socket.socket) -> bytes:
    loop, parts = asyncio.get_running_loop(), list[bytes]()
    async with asyncio.timeout(_SECONDS):
        while part := await loop.sock_recv(connection, 65_536):
            parts.append(part)
    return b"".join(parts)


def _whole_events(answer: bytes) -> list[str]:
    """The ids of the events that arrived complete."""
    return [found.decode() for found in re.findall(rb"id: (\S+)\nevent: .*\ndata: .*\n\n", answer)]
