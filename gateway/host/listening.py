"""Resolves and reserves the listening address of a process before anything else starts."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple


class CannotListenError(Exception):
    """The address is not local, or the port is taken; the message says which, the hint what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ListenAddress(NamedTuple):
    """A numeric address, and the actual port."""

    address: str
    port: int


@contextmanager
def claimed(host: str, port: int, *, shared: bool = False) -> Generator[ListenAddress]:
    """Reserve a port for a server that binds it with SO_REUSEPORT within the block.

    Port 0 takes a free one. With `shared`, other processes may listen on it, too. Raises
    CannotListenError.
    """
    with _bound(host, port, shared=shared) as holder:
        # Only after binding: a process that binds without the option is refused now, and our server is not.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield ListenAddress(*holder.getsockname()[:2])


def check(host: str, port: int, *, shared: bool = False) -> None:
    """Raise CannotListenError unless the address is local and its port free."""
    _bound(host, port, shared=shared).close()


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise CannotListenError(
            f"cannot listen on {host}: there is no such name or address",
            "GATEWAY_HOST, or --host, is an address of this machine, such as 127.0.0.1 or 0.0.0.0.",
        ) from None
    # A name such as localhost may have IPv4 and IPv6 addresses: IPv4 first.
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    holder = socket.socket(family, kind, protocol)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(address)
    except OSError as error:
        holder.close()
        raise CannotListenError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            "Another process may have the port, or the address is not of this machine. Several"
            " `gateway serve` share a port if each has GATEWAY_SHARE_PORT=true.",
        ) from None
    return holder
