"""Sends webhooks over HTTP/1.1, to nobody who may not be called, and trusts no receiver."""

import asyncio
import re
import ssl
from collections.abc import Sequence
from functools import lru_cache, partial
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from httpx_aiohttp import AiohttpTransport

from gateway.adapters.egress import CONNECT_SECONDS, Proxy, TunnelConnector
from gateway.adapters.exchange import MAX_KEPT, MISHAPS, Exchange
from gateway.adapters.heads import MAX_LINE, HeadFirst
from gateway.adapters.stopwatch import TimedHandshake, TimedRequest, running
from gateway.adapters.vetting import BlockedError, Lookup, UnresolvedError, Vetting
from gateway.core.addresses import NEVER_PUBLIC, Network, Target, check_url
from gateway.core.webhook import Fault, Reply, Webhook

# For one host as for all: many endpoints may be there, of which those that hang must not keep the rest
# waiting. How many requests one endpoint gets at a time is the engine's to say.
_MAX_CONNECTIONS = 500
_KEEPALIVE_SECONDS = 15.0
_CHECKED_URLS = 4096

_DEV_NETWORKS: tuple[Network, ...] = (
    IPv4Network("127.0.0.0/8"),
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("::1/128"),
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# They frame the request or bend the connection, so they are ours to set.
_OURS = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


class _Place(NamedTuple):
    target: Target
    url: httpx.URL


class HttpSender:
    """The Sender over httpx and aiohttp; close it with `aclose`.

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
        self._vetting = Vetting(allowed, lookup)
        self._proxy = proxy
        self._tls = tls or trusted_authorities()
        self._tls.sslobject_class = TimedHandshake
        self._transport = AiohttpTransport(verify=self._tls, client=self._open_session)
        single = partial(self._open_session, keep=False)
        self._fresh = AiohttpTransport(verify=self._tls, client=single)
        self._check = lru_cache(_CHECKED_URLS)(self._judge)

    async def send(self, webhook: Webhook) -> Reply | Fault:
        """Post a webhook; where no connection came about, or it was stale, try at once again."""
        request = self._request(webhook)
        if isinstance(request, str):
            return Fault("blocked", request, 0.0)
        exchange = Exchange(self._transport, self._fresh, request)
        token = running.set(exchange.stopwatch)
        try:
            async with asyncio.timeout(self._timeout):
                return await exchange.run()
        except MISHAPS as error:
            return exchange.broken(error)
        finally:
            running.reset(token)

    async def refusal(self, url: str) -> str | None:
        """Why this URL may not be called, for the person who gave it; None when it may.

        A name that does not resolve is accepted: that may change, and sending tries again. The
        sentence never tells what a name resolved to.
        """
        place = self._check(url)
        if isinstance(place, str):
            return place
        target = place.target
        if target.address is not None:
            return None
        try:
            await self._vetting.addresses(target.host, target.port)
        except BlockedError:
            return "The URL's host is at an address that may not be called."
        except UnresolvedError:
            pass
        return None

    async def aclose(self) -> None:
        """Close every connection, once no send is under way."""
        await self._transport.aclose()
        await self._fresh.aclose()
        await self._vetting.close()

    def _judge(self, url: str) -> _Place | str:
        target = check_url(url, ports=self._ports, schemes=self._schemes, closed=self._closed)
        if isinstance(target, str):
            return target
        if target.address is not None and self._vetting.refuses(str(target.address)):
            return "The URL's host is an address that may not be called."
        return _Place(target, httpx.URL(target.url))

    def _request(self, webhook: Webhook) -> httpx.Request | str:
        place = self._check(webhook.url)
        if isinstance(place, str):
            return place
        for name, value in webhook.headers:
            if name.lower() in _OURS or not _HEADER_NAME.fullmatch(name):
                return f"The header {name!r} may not be set."
            if not value.isascii() or not value.isprintable():
                return f"The header {name!r} has a character other than printable ASCII."
        # A ready stream and a named encoding: httpx guesses at neither, which halves its work.
        request = httpx.Request(
            "POST",
            place.url,
            headers=[*webhook.headers, ("accept-encoding", "identity")],
            stream=httpx.ByteStream(webhook.body),
            extensions={"timeout": {"connect": CONNECT_SECONDS}},
        )
        request.headers.encoding = "ascii"
        request.read()
        return request

    def _open_session(self, *, keep: bool = True) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self._connector(keep=keep),
            request_class=TimedRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=MAX_KEPT,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
        )

    def _connector(self, *, keep: bool) -> aiohttp.TCPConnector:
        kind = (
            partial(aiohttp.TCPConnector, socket_factory=self._vetting.open_socket)
            if self._proxy is None
            else partial(TunnelConnector, self._proxy, self._vetting)
        )
        connector = kind(
            resolver=self._vetting,
            ssl=self._tls,
            limit=_MAX_CONNECTIONS,
            keepalive_timeout=_KEEPALIVE_SECONDS if keep else None,
            force_close=not keep,
        )
        # There is no other way to say which protocol a connection speaks.
        protocol: partial[ResponseHandler] = partial(HeadFirst, loop=asyncio.get_running_loop())
        connector._factory = protocol  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return connector


def trusted_authorities() -> ssl.SSLContext:
    """TLS 1.2 or later, trusting the public authorities and those that this machine trusts."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
