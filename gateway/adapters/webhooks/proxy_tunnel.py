"""Tunnels through the operator's egress proxy: a CONNECT to an address that the SSRF guard admits.

The proxy never gets the name of a receiver: it would resolve the name itself, perhaps to an address
that the guard blocks. TLS runs end to end through the tunnel, and the certificate is checked against
the name in the URL, as without a proxy.
"""

import asyncio
import re
import socket
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from gateway.adapters.webhooks.ssrf_guard import (
    AddressInfo,
    BlockedError,
    SsrfGuard,
    UnresolvedError,
)
from gateway.adapters.webhooks.timings import PhaseTimer

CONNECT_SECONDS = 5.0
_MAX_HEAD = 16 * 1024
_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_SUCCESS = b"2"
# With these errors (RFC 9209) the proxy reports that the receiver failed, and not itself.
_RECEIVER_IS_AWAY = re.compile(
    rb"\r\nproxy-status:[^\r]*\berror=(?:destination_not_found|destination_unavailable"
    rb"|destination_ip_unroutable|connection_refused|connection_terminated|connection_timeout)\b",
    re.IGNORECASE,
)


class ProxyTunnelError(Exception):
    """The proxy itself failed; the text says how."""


class ProxyAwayError(ProxyTunnelError):
    """The proxy refused or broke off a connection; it may be back a moment later."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """The address of the proxy and the credentials that it wants."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str) -> "Proxy":
        """Parse `http://user:password@host:port`; raises ValueError."""
        parts = urlsplit(url)
        if parts.hostname is None or not parts.port:
            raise ValueError("the egress proxy must be given as http://host:port")
        if parts.username is None:
            return cls(parts.hostname, parts.port)
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(parts.hostname, parts.port, f"Basic {b64encode(pair.encode()).decode()}")


class ProxyTunnels:
    """Opens tunnels through the proxy."""

    def __init__(self, proxy: Proxy, guard: SsrfGuard) -> None:
        self._proxy = proxy
        self._guard = guard

    async def open_tunnel(self, info: AddressInfo, timer: PhaseTimer) -> socket.socket:
        """Return a socket that the proxy connected to this address; raises OSError or ProxyTunnelError."""
        address, port = info[4][:2]
        if self._guard.refuses(address):
            raise BlockedError
        timer.connect()
        timer.is_at_proxy = True
        tunnel = await self._connect_to_proxy()
        timer.is_at_proxy = False
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._ask(tunnel, f"[{address}]" if ":" in address else address, port)
        except BaseException:
            tunnel.close()
            raise
        return tunnel

    async def _connect_to_proxy(self) -> socket.socket:
        host, port = self._proxy.host, self._proxy.port
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                for address in await self._guard.find(host, port):
                    with suppress(OSError):
                        return await _connect(address, port)
        except UnresolvedError as unresolved:
            raise ProxyTunnelError(f"has a name that {unresolved}") from None
        except TimeoutError:
            raise ProxyTunnelError(f"cannot be reached within {CONNECT_SECONDS:g} s") from None
        raise ProxyAwayError("takes no connection")

    async def _ask(self, tunnel: socket.socket, address: str, port: int) -> None:
        lines = [f"CONNECT {address}:{port} HTTP/1.1", f"Host: {address}:{port}"]
        if self._proxy.authorization is not None:
            lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        head = await _exchange_headers(tunnel, "\r\n".join(lines).encode() + _END)
        status = _STATUS.match(head)
        # Bytes after the head would be taken for the response of the receiver.
        if status is None or head.find(_END) != len(head) - len(_END):
            raise ProxyTunnelError("did not answer CONNECT in HTTP")
        if status[1].startswith(_SUCCESS):
            return
        if _RECEIVER_IS_AWAY.search(head):
            raise OSError
        raise ProxyTunnelError(f"answered CONNECT with {status[1].decode()}")


async def _connect(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _exchange_headers(tunnel: socket.socket, request: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    head = b""
    try:
        await loop.sock_sendall(tunnel, request)
        while _END not in head and len(head) < _MAX_HEAD:
            received = await loop.sock_recv(tunnel, 4096)
            if not received:
                break
            head += received
    except OSError:
        raise ProxyAwayError("broke the connection off") from None
    return head
