"""A webhook receiver at the socket: it can say anything, also what is not HTTP."""

import asyncio
import contextlib
import socket
import ssl
import struct
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from gateway.adapters.webhooks.proxy_tunnel import Proxy
from gateway.adapters.webhooks.sender import HttpSender
from gateway.adapters.webhooks.ssrf_guard import Lookup
from gateway.core.webhooks.ssrf_rules import Network
from gateway.ports import Reply, SendFault, Webhook

Talk = Callable[[Reader, Writer], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Receiver:
    """Where it listens, and how often somebody came."""

    port: int = 0
    connections: int = 0

    def url(self, host: str = "127.0.0.1", path: str = "/hook", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def webhook(self, **url: str) -> Webhook:
        return Webhook(self.url(**url), (("content-type", "application/json"),), b'{"a":1}')


async def read_request(reader: Reader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        line.split(b":")[1] for line in head.splitlines() if line.lower().startswith(b"content-len")
    )
    return head + await reader.readexactly(int(length))


def answering(*answers: bytes) -> Talk:
    """Answers the requests of a connection one by one, then hangs up."""

    async def talk(reader: Reader, writer: Writer) -> None:
        for answer in answers:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()

    return talk


async def hang(reader: Reader, writer: Writer) -> None:
    """Never answers."""
    await asyncio.Event().wait()


def reset(writer: Writer) -> None:
    """Ends the connection with a TCP reset."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def receiving(
    talk: Talk | None = None,
    tls: ssl.SSLContext | None = None,
    listener: socket.socket | None = None,
) -> AsyncIterator[Receiver]:
    """A receiver at a free port of 127.0.0.1, or at `listener`; its talks end with it."""
    receiver = Receiver()
    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        receiver.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await (talk or answering(OK))(reader, writer)
        except asyncio.CancelledError:
            pass  # the test is over; the stream server would report a cancelled task
        finally:
            writer.close()
            talks.discard(task)

    sock = listener or socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(serve, sock=sock, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in talks.copy():
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


@contextlib.asynccontextmanager
async def sending(
    *,
    allow_private: bool = True,
    allowed_networks: tuple[Network, ...] = (),
    allowed_ports: frozenset[int] = frozenset(),
    timeout: float = 10.0,
    names: dict[str, list[str]] | None = None,
    lookup: Lookup | None = None,
    tls: ssl.SSLContext | None = None,
    proxy: Proxy | None = None,
) -> AsyncIterator[HttpSender]:
    """A sender whose names, where given, are the only ones that resolve."""

    async def look_up(host: str, port: int) -> list[str]:
        return (names or {}).get(host, [])

    sender = HttpSender(
        allow_private=allow_private,
        allowed_networks=allowed_networks,
        allowed_ports=allowed_ports,
        allow_http=True,
        timeout=timeout,
        lookup=lookup if names is None else look_up,
        tls=tls,
        proxy=proxy,
    )
    try:
        yield sender
    finally:
        await sender.aclose()


async def send_to(talk: Talk, timeout: float = 10.0, body: bytes = b"{}") -> Reply | SendFault:
    """What a webhook to such a receiver comes to."""
    async with receiving(talk) as receiver, sending(timeout=timeout) as sender:
        return await sender.send(Webhook(receiver.url(), (), body))
