"""Sends webhooks over HTTP/1.1, to nobody who may not be called, and trusts no receiver."""

import asyncio
import ssl
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from gateway.adapters.tls import trusted_authorities
from gateway.adapters.webhooks.connection_pool import ConnectionPool
from gateway.adapters.webhooks.connector import WebhookConnector
from gateway.adapters.webhooks.errors import SEND_ERRORS
from gateway.adapters.webhooks.exchange import Exchange
from gateway.adapters.webhooks.proxy_tunnel import Proxy, ProxyTunnels
from gateway.adapters.webhooks.request import RequestTarget, request_of
from gateway.adapters.webhooks.ssrf_guard import Lookup, SsrfGuard
from gateway.core.webhooks.request import Reply, SendFault, Webhook
from gateway.core.webhooks.ssrf_rules import NEVER_PUBLIC, Network, check_url

# For one host as for all: many endpoints may be there, of which those that hang must not keep the rest
# waiting. How many requests one endpoint gets at a time is the engine's to say.
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
    """The Sender over its own connections; close it with `aclose`.

    `allow_private` lets it call loopback and private networks, for one machine; the networks in
    `allowed_networks` may be called always. An empty `allowed_ports` means any port, which only
    `allow_private` may have. `timeout` in seconds bounds a whole exchange. With a `proxy`, no
    receiver is connected to but through it. Raises ValueError.
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
        inside = allow_private or bool(allowed_networks)
        self._closed = frozenset[str]() if inside else NEVER_PUBLIC
        allowed = (*allowed_networks, *(_DEV_NETWORKS if allow_private else ()))
        self._vetting = SsrfGuard(allowed, lookup)
        tunnels = None if proxy is None else ProxyTunnels(proxy, self._vetting)
        connector = WebhookConnector(self._vetting, tls or trusted_authorities(), tunnels)
        self._connections = ConnectionPool(connector.open, _MAX_CONNECTIONS)
        self._check = lru_cache(_CHECKED_URLS)(self._judge)

    async def send(self, webhook: Webhook) -> Reply | SendFault:
        """Post a webhook; where no connection came about, or it was stale, try at once again."""
        place = self._check(webhook.url)
        if isinstance(place, str):
            return SendFault("blocked", place, 0.0)
        request = request_of(place, webhook)
        if isinstance(request, str):
            return SendFault("blocked", request, 0.0)
        exchange = Exchange(self._connections, place.origin, request)
        try:
            async with asyncio.timeout(self._timeout):
                return await exchange.run()
        except SEND_ERRORS as error:
            return exchange.broken(error)

    async def refusal(self, url: str) -> str | None:
        """Why this URL may not be called, for the person who gave it; None when it may.

        Names are not looked up: what is found would tell what names there are in the operator's
        network. Each connection is vetted.
        """
        place = self._check(url)
        return place if isinstance(place, str) else None

    async def aclose(self) -> None:
        """Close every connection, once no send is under way."""
        self._connections.close()
        await self._vetting.close()

    def _judge(self, url: str) -> RequestTarget | str:
        target = check_url(url, ports=self._ports, schemes=self._schemes, closed=self._closed)
        if isinstance(target, str):
            return target
        if target.address is not None and self._vetting.refuses(str(target.address)):
            return "The URL's host is an address that may not be called."
        return RequestTarget.of(target)
