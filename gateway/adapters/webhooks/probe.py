"""Looks at the way to a receiver: name, SSRF guard, connection, certificate; it sends no request.

It uses the resolver, the guard, the egress proxy and the TLS settings of deliveries, but neither the
cached addresses nor the kept connections, so that each step is seen. It connects only to addresses
that the guard admitted in the same look.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address

from gateway.adapters.webhooks.certificate import read_certificate
from gateway.adapters.webhooks.connection import Origin
from gateway.adapters.webhooks.connector import address_info, is_address
from gateway.adapters.webhooks.errors import classify
from gateway.adapters.webhooks.proxy_tunnel import ProxyTunnelError, ProxyTunnels
from gateway.adapters.webhooks.ssrf_guard import AddressInfo, SsrfGuard, UnresolvedError
from gateway.adapters.webhooks.timings import PhaseTimer, now
from gateway.core.webhooks.receiver_probe import (
    FoundAddresses,
    ProbedTls,
    ReceiverProbe,
    TriedAddress,
)
from gateway.core.webhooks.ssrf_rules import forbidden

_CONNECT_SECONDS = 3.0
_MOST_ADDRESSES = 8


class ProbeRun:
    """One look at a receiver; `found` grows with each step, and stays when time runs out."""

    def __init__(
        self, origin: Origin, guard: SsrfGuard, tls: ssl.SSLContext, tunnels: ProxyTunnels | None
    ) -> None:
        self.found: ReceiverProbe = ReceiverProbe(
            is_tls=origin.is_tls, has_proxy=tunnels is not None
        )
        self._origin = origin
        self._guard = guard
        self._tls = tls
        self._tunnels = tunnels
        self._timer = PhaseTimer()

    async def run(self, within: float) -> ReceiverProbe:
        """Go step by step, for at most `within` seconds, and return what was found."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._look_up()
                lookup = self.found.lookup
                if lookup is None or lookup.fault or self.found.refused:
                    return self.found
                await self._connect(lookup.addresses[:_MOST_ADDRESSES])
        return self.found

    async def _look_up(self) -> None:
        host, port = self._origin.host, self._origin.port
        if is_address(host):
            self._judge(FoundAddresses((host,)))
            return
        started = now()
        try:
            addresses = tuple(await self._guard.find(host, port))
        except UnresolvedError as error:
            fault = FoundAddresses((), now() - started, str(error))
            self.found = replace(self.found, lookup=fault)
            return
        self._judge(FoundAddresses(addresses, now() - started))

    def _judge(self, lookup: FoundAddresses) -> None:
        self.found = replace(
            self.found,
            lookup=lookup,
            refused=tuple(filter(self._guard.refuses, lookup.addresses)),
            inside=tuple(one for one in lookup.addresses if forbidden(ip_address(one))),
        )

    async def _connect(self, addresses: tuple[str, ...]) -> None:
        """Connect to the first address that answers, and look at its certificate."""
        for address in addresses:
            started, tried = now(), self.found.tried
            # Stands if time runs out meanwhile.
            waiting = TriedAddress(address, None, "no connection was made in time")
            self.found = replace(self.found, tried=(*tried, waiting))
            info = address_info(address, self._origin.port)
            try:
                sock = await self._open(info)
            except (OSError, ProxyTunnelError) as error:
                done = TriedAddress(address, now() - started, self._fault_of(error))
                self.found = replace(self.found, tried=(*tried, done))
                continue
            done = TriedAddress(address, now() - started)
            self.found = replace(self.found, tried=(*tried, done))
            if self._origin.is_tls:
                await self._shake_hands(sock, info)
            else:
                sock.close()
            return

    async def _open(self, info: AddressInfo) -> socket.socket:
        async with asyncio.timeout(_CONNECT_SECONDS):
            if self._tunnels is not None:
                return await self._tunnels.open_tunnel(info, self._timer)
            sock = self._guard.open_socket(info, self._timer)
            try:
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, info[4])
            except BaseException:
                sock.close()
                raise
            return sock

    async def _shake_hands(self, sock: socket.socket, info: AddressInfo) -> None:
        started = self._timer.tls_started = now()
        self.found = replace(self.found, tls=ProbedTls(None, fault="it did not end in time"))
        try:
            tls = await self._handshake(sock, self._tls)
        except ssl.SSLCertVerificationError as error:
            # Read again without a check, to say what is in it; nothing is sent over that connection.
            seconds, seen = now() - started, ProbedTls(0.0)
            refused = ProbedTls(
                seconds, fault=error.verify_message.rstrip("."), verify_code=error.verify_code
            )
            self.found = replace(self.found, tls=refused)
            with suppress(OSError, ProxyTunnelError):
                seen = await self._handshake(await self._open(info), _unchecked(self._tls))
            tls = replace(refused, protocol=seen.protocol, certificate=seen.certificate)
        except OSError as error:
            tls = ProbedTls(now() - started, fault=self._fault_of(error))
        self.found = replace(self.found, tls=tls)

    async def _handshake(self, sock: socket.socket, context: ssl.SSLContext) -> ProbedTls:
        started = now()
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(
                asyncio.Protocol, sock=sock, ssl=context, server_hostname=self._origin.host
            )
        except BaseException:
            sock.close()
            raise
        try:
            channel: ssl.SSLObject = transport.get_extra_info("ssl_object")
            raw = channel.getpeercert(binary_form=True)
            certificate = read_certificate(raw) if raw else None
            return ProbedTls(now() - started, channel.version() or "", certificate)
        finally:
            transport.abort()

    def _fault_of(self, error: Exception) -> str:
        if isinstance(error, TimeoutError) and not self._timer.is_at_proxy:
            return f"no connection was made within {_CONNECT_SECONDS:g} s"
        return classify(error, self._timer)[1].rstrip(".")


def _unchecked(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same versions of TLS, with any certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = context.minimum_version
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made
