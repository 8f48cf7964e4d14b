"""A stand-in for PgBouncer: it does to a connection what the gateway knows a pooler by."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

# The message with the key for cancellations: its tag, its length, the pid and the secret.
_KEY_DATA = re.compile(rb"(K\x00\x00\x00\x0c).{4}(.{4})", re.DOTALL)
_OTHER_PID = b"\x7f\xff\xff\xff"

_Change = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Pooler:
    """Refuses the startup parameter `jit`, and gives each client another pid than that of the server.

    One that supports prepared statements keeps them under names of its own.
    """

    url: str
    supports_statements: bool = True
    refusal: str = "unsupported startup parameter: jit"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Yields the URL of the same database behind the pooler."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        parts = urlsplit(self.url)
        login, port = parts.netloc.rpartition("@")[0], server.sockets[0].getsockname()[1]
        async with server:
            netloc = f"{login}@127.0.0.1:{port}"
            yield parts._replace(netloc=netloc, query="sslmode=disable").geturl()
        await asyncio.sleep(0.05)  # lets the copies end with their connections

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = await reader.readexactly(4)
        startup = length + await reader.readexactly(int.from_bytes(length) - 4)
        if b"jit" in startup:
            fields = f"SFATAL\0C08P01\0M{self.refusal}\0\0".encode()
            writer.write(b"E" + (len(fields) + 4).to_bytes(4) + fields)
            await writer.drain()
        else:
            await self._pass_on(startup, reader, writer)
        writer.close()

    async def _pass_on(
        self, startup: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        parts = urlsplit(self.url)
        from_server, to_server = await asyncio.open_connection(parts.hostname, parts.port)
        to_server.write(startup)
        copies = [
            asyncio.create_task(_copy(reader, to_server, self._rename)),
            asyncio.create_task(_copy(from_server, writer, _replace_pid)),
        ]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in copies:
                one.cancel()
            to_server.close()

    def _rename(self, data: bytes) -> bytes:
        return data.replace(b"__asyncpg", b"PGBOUNCER") if self.supports_statements else data


def _replace_pid(data: bytes) -> bytes:
    return _KEY_DATA.sub(lambda found: found[1] + _OTHER_PID + found[2], data)


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, change: _Change
) -> None:
    while data := await source.read(65_536):
        target.write(change(data))
