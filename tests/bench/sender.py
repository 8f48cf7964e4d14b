"""What a webhook costs the sender in CPU time, and what aiohttp alone takes for the same request.

    python -m tests.bench.sender [requests] [rounds]

Connections to a receiver in another process are kept; 30 requests are in the air. The rows of a
round are measured one after the other, and each figure is the median of the rounds.
"""

import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import cast

import aiohttp
import uvloop
from typing_extensions import override

from gateway.adapters.webhooks.sender import HttpSender
from gateway.core.webhooks.signed_request import Reply, Webhook

IN_THE_AIR = 30
_BODY = b'{"type":"job.succeeded","data":"%s"}' % (b"x" * 900)
_HEADERS = (
    ("content-type", "application/json"),
    ("user-agent", "job-gateway/1"),
    ("webhook-id", "evt_019ad3c0-0000-7000-8000-000000000000"),
    ("webhook-timestamp", "1764500000"),
    ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Mon, 30 Nov 2026 00:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
)

Post = Callable[[], Awaitable[None]]


class _Receiver(asyncio.Protocol):
    """Answers each request once its body is there; it counts bytes and reads nothing else."""

    def __init__(self) -> None:
        self._seen = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._seen += data
        _, end, body = self._seen.partition(b"\r\n\r\n")
        if end and len(body) >= len(_BODY):
            self._seen = b""
            self._transport.write(_ANSWER)


def _receive(told: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Receiver, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


@asynccontextmanager
async def _sender(url: str) -> AsyncIterator[Post]:
    sender = HttpSender(
        allow_private=True, allowed_networks=(), allowed_ports=frozenset(), allow_http=True
    )
    webhook = Webhook(url, _HEADERS, _BODY)

    async def post() -> None:
        reply = await sender.send(webhook)
        assert isinstance(reply, Reply), reply
        assert reply.body == b"{}"

    yield post
    await sender.aclose()


@asynccontextmanager
async def _aiohttp(url: str, *, traced: bool) -> AsyncIterator[Post]:
    """Only its public names; `traced` with the marks that the sender has, and a deadline."""
    marks: dict[str, float] = {}

    async def mark(name: str, *_: object) -> None:
        marks[name] = time.perf_counter()

    traces = [aiohttp.TraceConfig()] if traced else []
    for trace in traces:
        trace.on_connection_create_start.append(partial(mark, "connecting"))
        trace.on_connection_reuseconn.append(partial(mark, "ready"))
        trace.on_request_headers_sent.append(partial(mark, "sent"))
        trace.on_request_end.append(partial(mark, "answered"))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=500),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=traces,
    ) as session:

        async def post() -> None:
            async with (
                asyncio.timeout(15 if traced else None),
                session.post(url, data=_BODY, headers=_HEADERS, allow_redirects=False) as answer,
            ):
                assert await answer.read() == b"{}"

        yield post


async def _cost(post: Post, requests: int) -> float:
    """Milliseconds of this process's CPU for each request."""

    async def one_after_the_other(count: int) -> None:
        for _ in range(count):
            await post()

    await asyncio.gather(*(one_after_the_other(10) for _ in range(IN_THE_AIR)))
    before = time.process_time()
    each = requests // IN_THE_AIR
    await asyncio.gather(*(one_after_the_other(each) for _ in range(IN_THE_AIR)))
    return (time.process_time() - before) / (each * IN_THE_AIR) * 1000


async def _measure(port: int, requests: int, rounds: int) -> dict[str, list[float]]:
    url = f"http://127.0.0.1:{port}/hook"
    async with AsyncExitStack() as stack:
        rows = {
            "the sender": await stack.enter_async_context(_sender(url)),
            "aiohttp alone": await stack.enter_async_context(_aiohttp(url, traced=False)),
            "aiohttp, traced": await stack.enter_async_context(_aiohttp(url, traced=True)),
        }
        costs: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(rounds):
            for name, post in rows.items():
                costs[name].append(await _cost(post, requests))
    return costs


def main(requests: int = 6000, rounds: int = 5) -> None:
    """Measure, and print a table."""
    heard, told = multiprocessing.Pipe(duplex=False)
    receiver = multiprocessing.get_context("spawn").Process(target=_receive, args=(told,))
    receiver.start()
    try:
        costs = uvloop.run(_measure(heard.recv(), requests, rounds))
    finally:
        receiver.terminate()
    print(f"{requests} requests, {IN_THE_AIR} in the air, {rounds} rounds; ms of CPU a request")
    for name, figures in costs.items():
        median, low, high = statistics.median(figures), min(figures), max(figures)
        print(f"{name:16} {median:.3f}   ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
