"""Sends webhooks over HTTP/1.1: the port Sender.

It runs in workers, and in API processes for test deliveries. It promises never to connect to an
address that the SSRF guard blocks, and to end every send within the timeout with a value, not with
an exception. It keeps nothing but idle connections, so a crash loses nothing here: the engine reads
from its own rows whether to send again.
"""

import asyncio
import ssl
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from gateway.adapters.tls import shared_authorities
from gateway.adapters.webhooks.connection_pool import ConnectionPool
from gateway.adapters.webhooks.connector import WebhookConnector
from gateway.adapters.webhooks.errors import SEND_ERRORS
from gateway.adapters.webhooks.exchange import Exchange
from gateway.adapters.webhooks.probe import ProbeRun
from gateway.adapters.webhooks.proxy_tunnel import Proxy, ProxyTunnels
from gateway.adapters.webhooks.request import RequestTarget, request_of
from gateway.adapters.webhooks.ssrf_guard import Lookup, SsrfGuard
from gateway.core.webhooks.receiver_probe import ReceiverProbe
from gateway.core.webhooks.signed_request import Reply, SendFault, Webhook
from gateway.core.webhooks.ssrf_rules import NEVER_PUBLIC, Network, check_url

# The limit of all hosts together is also that of one: many endpoints may share a host, and those that
# hang must not block the others. The engine limits the concurrent requests of each endpoint.
_MAX_CONNECTIONS = 500
_CHECKED_URLS = 4096

_DEV_NETWORKS: tuple[Network, ...] = (
    IPv4Network("127.0.0.0/8"),
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("::1/128"),
)


class HttpSender:
    """Implements the port Sender over connections of its own; close it with `aclose`.

    `allow_private` permits loopback and private networks, for development on one machine.
    `allowed_networks` are always permitted. An empty `allowed_ports` means any port and needs
    `allow_private`. `timeout` in seconds limits a whole exchange. With a `proxy`, every connection
    goes through it. Raises ValueError.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        allowed_networks: Sequence[Network],
        allowed_ports: frozenset[int],
        allow_http: bool,
        timeout: float = 15.0,
        proxy: Proxy | None = None,
        lookup: Lookup | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not allowed_ports and not allow_private:
            raise ValueError("name the ports that webhooks may be sent to")
        self._timeout = timeout
        self._ports = allowed_ports
        self._schemes = ("https", "http") if allow_http else ("https",)
        may_be_private = allow_private or bool(allowed_networks)
        self._closed = frozenset[str]() if may_be_private else NEVER_PUBLIC
        allowed = (*allowed_networks, *(_DEV_NETWORKS if allow_private else ()))
        self._guard = SsrfGuard(allowed, lookup)
        self._tunnels = None if proxy is None else ProxyTunnels(proxy, self._guard)
        self._tls = tls or shared_authorities()
        connector = WebhookConnector(self._guard, self._tls, self._tunnels)
        self._connections = ConnectionPool(connector.open, _MAX_CONNECTIONS)
        self._check = lru_cache(_CHECKED_URLS)(self._check_now)

    async def send(self, webhook: Webhook, within: float | None = None) -> Reply | SendFault:
        """Post a webhook; retries once at once if the connection failed or was stale.

        `within` shortens the timeout.
        """
        target = self._check(webhook.url)
        if isinstance(target, str):
            return SendFault("blocked", target, 0.0)
        request = request_of(target, webhook)
        if isinstance(request, str):
            return SendFault("blocked", request, 0.0)
        exchange = Exchange(self._connections, target.origin, request)
        try:
            limit = self._timeout if within is None else min(within, self._timeout)
            async with asyncio.timeout(limit):
                return await exchange.run()
        except SEND_ERRORS as error:
            return exchange.after(error)

    async def refusal(self, url: str) -> str | None:
        """Return why this URL may not be called, for the person who registers it, or None.

        Names are not resolved here: the result would reveal which names exist in the operator's
        network. The SSRF guard checks every connection instead.
        """
        target = self._check(url)
        return target if isinstance(target, str) else None

    async def probe(self, url: str, within: float) -> ReceiverProbe:
        """Look at the way to a receiver for at most `within` seconds; no request is sent."""
        target = self._check(url)
        if isinstance(target, str):
            return ReceiverProbe(url_fault=target)
        return await ProbeRun(target.origin, self._guard, self._tls, self._tunnels).run(within)

    async def aclose(self) -> None:
        """Close every connection; no send may be under way."""
        self._connections.close()
        await self._guard.close()

    def _check_now(self, url: str) -> RequestTarget | str:
        target = check_url(url, ports=self._ports, schemes=self._schemes, closed=self._closed)
        if isinstance(target, str):
            return target
        if target.address is not None and self._guard.refuses(str(target.address)):
            return "The URL's host is an address that may not be called."
        return RequestTarget.of(target)
