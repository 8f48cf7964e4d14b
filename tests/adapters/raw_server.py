"""A TCP server that reads HTTP requests byte by byte and does to each what a test says."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Act = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """What arrived, and what to do with it: `acts` in order, the last one for ever."""

    acts: list[Act]
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head + await reader.readexactly(_length(head)))
                act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
                await act(writer)
                await writer.drain()
                if writer.is_closing():
                    break
        writer.close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


@asynccontextmanager
async def serving(*acts: Act, tls: ssl.SSLContext | None = None) -> AsyncGenerator[RawServer]:
    """A server on a free port; every connection is closed when the block ends."""
    raw = RawServer(list(acts))
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(raw.serve(reader, writer))
        tasks.add(task)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            writer.close()

    server = await asyncio.start_server(run, "127.0.0.1", 0, ssl=tls)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)


def reply(status: int, body: bytes | str = b"", *headers: str, length: int | None = None) -> Act:
    """Answer and keep the connection; `length` lies about the size of the body."""
    content = body.encode() if isinstance(body, str) else body

    async def act(writer: asyncio.StreamWriter) -> None:
        size = len(content) if length is None else length
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {size}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + content)

    return act


def then_close(act: Act) -> Act:
    """Do it, then close the connection without having said so."""

    async def closing(writer: asyncio.StreamWriter) -> None:
        await act(writer)
        writer.close()

    return closing


async def drop(writer: asyncio.StreamWriter) -> None:
    """Close the connection without an answer."""
    writer.close()


async def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection off without an answer."""
    writer.transport.abort()


async def hang(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()
