"""The client of Redis on uvloop, on which the processes run."""

import asyncio
import socket
import struct
from typing import Any

import pytest
import uvloop

from gateway.adapters.redis.client import LOST, pool_of

_RESET = struct.pack("ii", 1, 0)


async def _write_after_a_reset() -> None:
    accepted = asyncio.Queue[asyncio.StreamWriter]()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accepted.put(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = pool_of(f"redis://127.0.0.1:{port}", 2.0)
    connection: Any = pool.make_connection()
    await connection.connect()
    theirs = await accepted.get()
    theirs.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    theirs.transport.abort()
    while not connection._writer.transport.is_closing():  # noqa: ASYNC110 - redis-py says nothing
        await asyncio.sleep(0.01)
    try:
        with pytest.raises(LOST):
            await connection.send_command("PING")
    finally:
        await connection.disconnect(nowait=True)
        server.close()


def test_a_write_after_a_reset_is_a_lost_connection() -> None:
    """A worker whose Redis went away just as it connected ended with a RuntimeError."""
    uvloop.run(_write_after_a_reset())
