"""Responses over HTTP/1.0, which end with the connection: a reset marks a truncated one."""

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

_OLD = frozenset({"1", "1.0"})
_DESCRIPTORS = Path("/proc/self/fd")
_RESET = struct.pack("ii", 1, 0)
_CLOSE = struct.pack("ii", 0, 0)
_STEP_SECONDS = 0.05
# The server hands over what it still holds as soon as the kernel has sent the rest.
_EMPTY_LOOKS = 3


class Ending:
    """How one connection ends: with a reset, until `allow` lets it end properly."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection

    async def allow(self, given_up: Callable[[], bool]) -> bool:
        """Let it end properly once the reader has read everything; False if `given_up` says so first."""
        if self._connection is None:
            return True
        looks = 0
        while looks < _EMPTY_LOOKS:
            if given_up():
                return False
            looks = 0 if _unsent(self._connection) else looks + 1
            await asyncio.sleep(_STEP_SECONDS)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE)
        return True


@asynccontextmanager
async def reset_unless_whole(scope: Scope) -> AsyncGenerator[Ending]:
    """Let an answer within the block end in a reset unless it is allowed to end properly.

    Only over HTTP/1.0, and where there is /proc; an answer over HTTP/1.1 lacks its last chunk.
    The kernel resets even if the process is killed.
    """
    connection = None
    if scope.get("http_version") in _OLD:
        connection = await asyncio.to_thread(_connection_of, scope)
    try:
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        yield Ending(connection)
    finally:
        if connection is not None:
            connection.close()


def _connection_of(scope: Scope) -> socket.socket | None:
    """A second descriptor of the connection; ASGI gives no way to it, so it is found by its ends."""
    ends = tuple((ip_address(host), int(port)) for host, port in (scope["server"], scope["client"]))
    if not _DESCRIPTORS.is_dir():
        return None
    for entry in _DESCRIPTORS.iterdir():
        with suppress(OSError):  # one that was closed meanwhile, or is not connected
            if not str(entry.readlink()).startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(entry.name)))
            if _ends(found) == ends:
                return found
            found.close()
    return None


def _ends(connection: socket.socket) -> object:
    try:
        pairs = (connection.getsockname(), connection.getpeername())
        return tuple((ip_address(pair[0]), pair[1]) for pair in pairs)
    except (OSError, ValueError, IndexError, TypeError):
        return None


def _unsent(connection: socket.socket) -> int:
    return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]
