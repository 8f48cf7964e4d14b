"""Receivers that behave oddly below HTTP: they drip, flood, bomb, redirect, or break TLS."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import trustme

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
_BOMB_BYTES = 100_000_000
_LINE = b"X-Endless: " + b"a" * 1000 + b"\r\n"
_CHUNK = 65536


class Odd:
    """A listener; it counts its connections, all of them and the most at once."""

    def __init__(self, talk: Talk) -> None:
        self.port = 0
        self.connections = 0
        self.present = 0
        self.most = 0
        self._talk = talk
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_over = False

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
        """Listen."""
        server = await asyncio.start_server(self._accept, host, port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def end(self) -> None:
        """Drop all connections, also those that were accepted and are not yet met."""
        self._is_over = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_over:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._meet(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.present += 1
        self.most = max(self.most, self.present)
        try:
            # Being cancelled is how a connection ends with its listener.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._talk(reader, writer)
                writer.close()
                await writer.wait_closed()
        finally:
            self.present -= 1


@asynccontextmanager
async def listening(
    talk: Talk, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Odd]:
    """A listener for the time of the block that treats each connection as `talk` does."""
    odd = Odd(talk)
    server = await odd.start(host, port, tls)
    try:
        yield odd
    finally:
        server.close()
        await odd.end()


async def read_request(reader: asyncio.StreamReader) -> None:
    """Read one request whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    await reader.readexactly(int(fields.get(b"content-length", b"0")))


# --- HTTP ----------------------------------------------------------------------------------------


async def drip_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One byte of the answer's body a second, for ever."""
    await read_request(reader)
    writer.write(_HEAD + b"Content-Length: 100000\r\n\r\n")
    await _drip(writer, b"x")


async def drip_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One byte of the answer's head a second, for ever."""
    await read_request(reader)
    writer.write(_HEAD + b"X-Slow: ")
    await _drip(writer, b"x")


async def endless_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Header after header, as fast as they are taken."""
    await read_request(reader)
    writer.write(_HEAD)
    while True:
        writer.write(_LINE)
        await writer.drain()


async def endless_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body without an end, as fast as it is taken."""
    await read_request(reader)
    writer.write(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * _CHUNK + b"\r\n")
        await writer.drain()


async def bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A small body that unpacks to 100 MB."""
    await read_request(reader)
    body = prepare_bomb()
    head = _HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(head + body)
    await writer.drain()


def redirecting(status: int, to: str) -> Talk:
    """Answers with a redirect."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()

    return talk


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads and never answers."""
    while await reader.read(_CHUNK):
        pass


def passing_on(host: str, port: int) -> Talk:
    """Passes everything on to another place, without TLS."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(host, port)
        try:
            ways = [
                asyncio.create_task(_pump(reader, ours)),
                asyncio.create_task(_pump(theirs, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            ours.transport.abort()

    return talk


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(_CHUNK):
        sink.write(piece)
        await sink.drain()


async def _drip(writer: asyncio.StreamWriter, byte: bytes) -> None:
    while True:
        writer.write(byte)
        await writer.drain()
        await asyncio.sleep(1)


@cache
def prepare_bomb() -> bytes:
    """What `bomb` sends; it takes a second to make, once."""
    return gzip.compress(bytes(_BOMB_BYTES), compresslevel=9)


# --- TLS -----------------------------------------------------------------------------------------


class Authority:
    """An authority that workers trust when they are given `env`."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self._file))

    @property
    def env(self) -> dict[str, str]:
        """What makes a process trust it."""
        return {"SSL_CERT_FILE": str(self._file)}

    def good(self, *hosts: str) -> ssl.SSLContext:
        """A server's side of TLS with nothing wrong."""
        return _server(self._ca.issue_cert(*hosts))

    def expired(self, host: str) -> ssl.SSLContext:
        """A certificate of the year 2020."""
        return _server(self._ca.issue_cert(host, not_after=datetime(2020, 1, 1, tzinfo=UTC)))

    def old(self, host: str) -> ssl.SSLContext:
        """A server that knows nothing newer than TLS 1.0."""
        context = self.good(host)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1
        return context


def self_signed(host: str) -> ssl.SSLContext:
    """A certificate of an authority that nobody trusts."""
    return _server(trustme.CA().issue_cert(host))


def _server(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@asynccontextmanager
async def all_listening(**talks: Talk) -> AsyncGenerator[dict[str, Odd]]:
    """Several listeners by name."""
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(listening(t)) for name, t in talks.items()}
