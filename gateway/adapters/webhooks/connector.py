"""Opens connections: resolves a host, connects to one of its addresses, and starts TLS.

Addresses are raced (Happy Eyeballs, RFC 8305), so one that does not answer costs 0.25 s only. Every
socket comes from the SSRF guard, or leads to the egress proxy, which gets only admitted addresses.
"""

import asyncio
import socket
import ssl
from functools import partial
from ipaddress import ip_address

from aiohappyeyeballs import start_connection  # pyright: ignore[reportUnknownVariableType]

from gateway.adapters.webhooks.connection import Origin, WebhookConnection
from gateway.adapters.webhooks.proxy_tunnel import CONNECT_SECONDS, ProxyTunnels
from gateway.adapters.webhooks.ssrf_guard import AddressInfo, SsrfGuard
from gateway.adapters.webhooks.timings import PhaseTimer, now

_NEXT_ADDRESS_SECONDS = 0.25
_CACHE_SECONDS = 10.0
_MAX_CACHED = 4096


class WebhookConnector:
    """Opens connections to admitted addresses; with `tunnels` only through the egress proxy."""

    def __init__(self, guard: SsrfGuard, tls: ssl.SSLContext, tunnels: ProxyTunnels | None) -> None:
        self._guard = guard
        self._tls = tls
        self._tunnels = tunnels
        self._cached: dict[str, tuple[float, list[str]]] = {}

    async def open(self, origin: Origin, timer: PhaseTimer) -> WebhookConnection:
        """Open a connection; raises the OSError of the last address, or ProxyTunnelError."""
        addresses = await self._addresses(origin, timer)
        untried = [address_info(address, origin.port) for address in addresses]
        tunnels = self._tunnels
        connect = partial(self._connect_through, tunnels) if tunnels else self._connect_directly
        while True:
            try:
                return await connect(untried, origin, timer)
            except OSError:
                if not untried:
                    raise

    async def _connect_directly(
        self, untried: list[AddressInfo], origin: Origin, timer: PhaseTimer
    ) -> WebhookConnection:
        """Connect to the address that answers first; afterwards `untried` holds the others."""
        made: dict[socket.socket, AddressInfo] = {}

        def make_socket(info: AddressInfo) -> socket.socket:
            sock = self._guard.open_socket(info, timer)
            made[sock] = info
            return sock

        async with asyncio.timeout(CONNECT_SECONDS):
            candidates = untried.copy()
            untried.clear()
            sock = await start_connection(
                candidates,
                happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
                socket_factory=make_socket,
            )
            untried.extend(info for info in candidates if info != made[sock])
            return await self._start(sock, origin, timer)

    async def _connect_through(
        self,
        tunnels: ProxyTunnels,
        untried: list[AddressInfo],
        origin: Origin,
        timer: PhaseTimer,
    ) -> WebhookConnection:
        """Let the proxy connect to the next address."""
        sock = await tunnels.open_tunnel(untried.pop(0), timer)
        async with asyncio.timeout(CONNECT_SECONDS):
            return await self._start(sock, origin, timer)

    async def _start(
        self, sock: socket.socket, origin: Origin, timer: PhaseTimer
    ) -> WebhookConnection:
        """Wrap a connected socket, after a TLS handshake that checks the certificate if it uses TLS."""
        if origin.is_tls:
            timer.tls_started = now()
        _, connection = await asyncio.get_running_loop().create_connection(
            partial(WebhookConnection, origin),
            sock=sock,
            ssl=self._tls if origin.is_tls else None,
            server_hostname=origin.host if origin.is_tls else None,
        )
        return connection

    async def _addresses(self, origin: Origin, timer: PhaseTimer) -> list[str]:
        """Return the admitted addresses of a host, each time starting with another one."""
        if is_address(origin.host):
            return [origin.host]
        until, addresses = self._cached.get(origin.host, (0.0, []))
        if until < now():
            timer.lookup_started = now()
            try:
                addresses = await self._guard.addresses(origin.host, origin.port)
            finally:
                timer.lookup_ended = now()
            if len(self._cached) >= _MAX_CACHED:
                self._cached.clear()
            self._cached[origin.host] = (now() + _CACHE_SECONDS, addresses)
        first = addresses.pop(0)
        addresses.append(first)
        return [first, *addresses[:-1]]


def is_address(host: str) -> bool:
    """Return whether a host is an address and not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def address_info(address: str, port: int) -> AddressInfo:
    """Return an address in the form that sockets are opened with."""
    stream = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    if ":" in address:
        return (socket.AF_INET6, *stream, (address, port, 0, 0))
    return (socket.AF_INET, *stream, (address, port))
