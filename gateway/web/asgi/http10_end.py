"""Marks truncated HTTP/1.0 responses, which end with the connection, by a reset."""

import asyncio
import fcntl
import os
import socket
import struct
import termios
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

from gateway.web.asgi.types import Scope

_HTTP_10 = frozenset({"1", "1.0"})
_DESCRIPTORS = Path("/proc/self/fd")
_RESET = struct.pack("ii", 1, 0)
_CLOSE = struct.pack("ii", 0, 0)
_STEP_SECONDS = 0.05
# So many checks in a row must find the kernel's buffer empty: the server refills it when it can.
_EMPTY_CHECKS = 3


class Ending:
    """How one connection ends: with a reset, unless `allow` was called before."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection

    async def allow(self, given_up: Callable[[], bool]) -> bool:
        """Let it close normally once all is sent; False if `given_up` is true before that."""
        if self._connection is None:
            return True
        checks = 0
        while checks < _EMPTY_CHECKS:
            if given_up():
                return False
            checks = 0 if _unsent(self._connection) else checks + 1
            await asyncio.sleep(_STEP_SECONDS)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE)
        return True


@asynccontextmanager
async def reset_unless_whole(scope: Scope) -> AsyncGenerator[Ending]:
    """Reset the connection after the block, unless `Ending.allow` was called in it.

    This is for HTTP/1.0 on systems with /proc. Over HTTP/1.1 nothing is done, for a truncated
    response lacks its last chunk. The kernel resets the connection even if the process is killed.
    """
    connection = None
    if scope.get("http_version") in _HTTP_10:
        connection = await asyncio.to_thread(_connection_of, scope)
    try:
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        yield Ending(connection)
    finally:
        if connection is not None:
            connection.close()


def _connection_of(scope: Scope) -> socket.socket | None:
    """A duplicate of the connection's socket. ASGI does not give it, so its addresses find it."""
    addresses = tuple(
        (ip_address(host), int(port)) for host, port in (scope["server"], scope["client"])
    )
    if not _DESCRIPTORS.is_dir():
        return None
    for entry in _DESCRIPTORS.iterdir():
        with suppress(OSError):  # it was closed in the meantime, or is not connected
            if not str(entry.readlink()).startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(entry.name)))
            if _addresses(found) == addresses:
                return found
            found.close()
    return None


def _addresses(connection: socket.socket) -> object:
    try:
        pairs = (connection.getsockname(), connection.getpeername())
        return tuple((ip_address(pair[0]), pair[1]) for pair in pairs)
    except (OSError, ValueError, IndexError, TypeError):
        return None


def _unsent(connection: socket.socket) -> int:
    return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]
