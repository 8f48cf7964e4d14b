"""The way out through the operator's proxy: every connection is a CONNECT to a vetted address.

The proxy is never told the name of a receiver. It would look it up for itself, and what it called
would not be what was vetted. TLS is spoken with the receiver through the tunnel, and certificates
are checked against the name in the URL, as they are without a proxy.
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
# RFC 9209: with these words the proxy says that it works, and that the receiver does not.
_RECEIVER_IS_AWAY = re.compile(
    rb"\r\nproxy-status:[^\r]*\berror=(?:destination_not_found|destination_unavailable"
    rb"|destination_ip_unroutable|connection_refused|connection_terminated|connection_timeout)\b",
    re.IGNORECASE,
)


class ProxyTunnelError(Exception):
    """The proxy itself failed; the text says what it did."""


class ProxyAwayError(ProxyTunnelError):
    """The proxy did not take a connection, or broke it off; a moment later it may be back."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is, and what it must be told to let us through."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str) -> "Proxy":
        """The proxy of `http://user:password@host:port`; raises ValueError."""
        parts = urlsplit(url)
        if parts.hostname is None or not parts.port:
            raise ValueError("the egress proxy must be given as http://host:port")
        if parts.username is None:
            return cls(parts.hostname, parts.port)
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(parts.hostname, parts.port, f"Basic {b64encode(pair.encode()).decode()}")


class ProxyTunnels:
    """Connections through the proxy, and none past it."""

    def __init__(self, proxy: Proxy, vetting: SsrfGuard) -> None:
        self._proxy = proxy
        self._vetting = vetting

    async def dig(self, info: AddressInfo, stopwatch: PhaseTimer) -> socket.socket:
        """A socket that the proxy has connected to this address; raises OSError or EgressError."""
        address, port = info[4][:2]
        if self._vetting.refuses(address):
            raise BlockedError
        stopwatch.connect()
        stopwatch.at_proxy = True
        tunnel = await self._reach_proxy()
        stopwatch.at_proxy = False
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._ask(tunnel, f"[{address}]" if ":" in address else address, port)
        except BaseException:
            tunnel.close()
            raise
        return tunnel

    async def _reach_proxy(self) -> socket.socket:
        host, port = self._proxy.host, self._proxy.port
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                for address in await self._vetting.find(host, port):
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
        head = await _exchange_heads(tunnel, "\r\n".join(lines).encode() + _END)
        status = _STATUS.match(head)
        # Nobody speaks before we do: more than a head would be taken for the receiver's answer.
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


async def _exchange_heads(tunnel: socket.socket, request: bytes) -> bytes:
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
