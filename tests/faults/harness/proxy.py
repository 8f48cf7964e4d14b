"""A TCP proxy for one link that can be cut, slowed, silenced, or reset at a chosen moment."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)
# Being cancelled is how a connection ends with its proxy: a server's callback would call it an error.
_LOST = (OSError, asyncio.IncompleteReadError, asyncio.CancelledError)


class Proxy:
    """Forwards both ways; its attributes are the toxics, and apply to what comes next.

    `delay` is seconds added to each piece, `stalled` holds all pieces back, `cut` turns connections
    away. `reset_on` resets the connection in place of forwarding the client's piece that holds
    these bytes, or with `after` once the piece was forwarded, so that only the answer is lost.
    `limit` resets each connection after so many bytes from the server. `accepted` counts connections.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.delay = 0.0
        self.reset_on: bytes | None = None
        self.after = False
        self.limit: int | None = None
        self.hits = 0
        self.accepted = 0
        self.is_cut = False
        self._target = host, port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def serve(self) -> asyncio.Server:
        """Listen on a free port of the loopback address."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def cut(self) -> None:
        """Reset all connections and turn new ones away."""
        self.is_cut = True
        self.reset()

    def stall(self) -> None:
        """Connections stay and say nothing."""
        self._flowing.clear()

    def heal(self) -> None:
        """As at the start."""
        self.delay, self.reset_on, self.after, self.limit = 0.0, None, False, None
        self.is_cut = False
        self._flowing.set()

    def reset(self) -> None:
        """Reset all present connections."""
        for writer in list(self._clients):
            _reset(writer)

    async def close(self) -> None:
        """End all connections."""
        tasks = list(self._clients.values())
        self.reset()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.accepted += 1
        self._clients[writer] = task
        try:
            if not self.is_cut:
                await self._join(reader, writer)
        except _LOST:
            pass
        finally:
            del self._clients[writer]
            _reset(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opening = asyncio.create_task(asyncio.open_connection(*self._target))
        try:
            theirs, ours = await asyncio.shield(opening)
        except asyncio.CancelledError:
            (await opening)[1].close()
            raise
        ways = [
            asyncio.create_task(self._pump(reader, ours, writer)),
            asyncio.create_task(self._pump(theirs, writer, None)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ours.close()  # before the wait, in which this task may be cancelled
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        client: asyncio.StreamWriter | None,
    ) -> None:
        passed = 0
        while piece := await source.read(_CHUNK):
            await self._flowing.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            is_hit = client is not None and self.reset_on is not None and self.reset_on in piece
            if not is_hit or self.after:
                sink.write(piece)
                await sink.drain()
            passed += len(piece)
            is_full = client is None and self.limit is not None and passed >= self.limit
            if is_hit or is_full:
                await self._hit(client or sink)
                return

    async def _hit(self, client: asyncio.StreamWriter) -> None:
        self.hits += 1
        if self.after:
            await asyncio.sleep(0.05)  # the server must have read it before it hears of the end
        _reset(client)


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        handle = writer.get_extra_info("socket")
        if handle is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@asynccontextmanager
async def proxied(host: str, port: int) -> AsyncGenerator[Proxy]:
    """A proxy to a server for the time of the block."""
    proxy = Proxy(host, port)
    server = await proxy.serve()
    try:
        yield proxy
    finally:
        server.close()
        proxy.is_cut = True  # for what was accepted and is not yet met
        await proxy.close()
