"""Opens connections: finds the addresses of a host, connects to one, and speaks TLS where asked.

Addresses are raced (RFC 8305), so one that does not answer costs a moment only. Every socket comes
from the vetting, or leads to the egress proxy and asks it for a vetted address.
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
_REMEMBERED_SECONDS = 10.0
_MAX_REMEMBERED = 4096


class WebhookConnector:
    """Opens connections to vetted addresses; with `tunnels`, through the egress proxy only."""

    def __init__(
        self, vetting: SsrfGuard, tls: ssl.SSLContext, tunnels: ProxyTunnels | None
    ) -> None:
        self._vetting = vetting
        self._tls = tls
        self._tunnels = tunnels
        self._remembered: dict[str, tuple[float, list[str]]] = {}

    async def open(self, origin: Origin, stopwatch: PhaseTimer) -> WebhookConnection:
        """A new connection; raises OSError as the last address failed, or EgressError."""
        addresses = await self._addresses(origin, stopwatch)
        untried = [_info(address, origin.port) for address in addresses]
        way = self._directly if self._tunnels is None else partial(self._through, self._tunnels)
        while True:
            try:
                return await way(untried, origin, stopwatch)
            except OSError:
                if not untried:
                    raise

    async def _directly(
        self, untried: list[AddressInfo], origin: Origin, stopwatch: PhaseTimer
    ) -> WebhookConnection:
        """Connect to the address that is there first; where none is, all of them were tried."""
        made: dict[socket.socket, AddressInfo] = {}

        def make_socket(info: AddressInfo) -> socket.socket:
            sock = self._vetting.open_socket(info, stopwatch)
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
            return await self._speak(sock, origin, stopwatch)

    async def _through(
        self,
        tunnels: ProxyTunnels,
        untried: list[AddressInfo],
        origin: Origin,
        stopwatch: PhaseTimer,
    ) -> WebhookConnection:
        """Have the proxy connect to the next address."""
        sock = await tunnels.dig(untried.pop(0), stopwatch)
        async with asyncio.timeout(CONNECT_SECONDS):
            return await self._speak(sock, origin, stopwatch)

    async def _speak(
        self, sock: socket.socket, origin: Origin, stopwatch: PhaseTimer
    ) -> WebhookConnection:
        """Make a connection of a connected socket; the handshake checks the certificate."""
        if origin.is_tls:
            stopwatch.securing = now()
        _, connection = await asyncio.get_running_loop().create_connection(
            partial(WebhookConnection, origin),
            sock=sock,
            ssl=self._tls if origin.is_tls else None,
            server_hostname=origin.host if origin.is_tls else None,
        )
        return connection

    async def _addresses(self, origin: Origin, stopwatch: PhaseTimer) -> list[str]:
        """The vetted addresses of a host, each time with another one first."""
        if _is_address(origin.host):
            return [origin.host]
        until, addresses = self._remembered.get(origin.host, (0.0, []))
        if until < now():
            stopwatch.looking_up = now()
            try:
                addresses = await self._vetting.addresses(origin.host, origin.port)
            finally:
                stopwatch.resolved = now()
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[origin.host] = (now() + _REMEMBERED_SECONDS, addresses)
        first = addresses.pop(0)
        addresses.append(first)
        return [first, *addresses[:-1]]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _info(address: str, port: int) -> AddressInfo:
    stream = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    if ":" in address:
        return (socket.AF_INET6, *stream, (address, port, 0, 0))
    return (socket.AF_INET, *stream, (address, port))
