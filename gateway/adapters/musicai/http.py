"""Makes one HTTP call to the upstream within its deadline, and classifies failures.

Busy means that no byte of the request was written, so a submit may be sent again. Unknown means that
it may have been written: the engine must look the job up before it submits again (at most one
upstream job per accepted job). Every error that is not in NEVER_SENT is Unknown.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from gateway.adapters.musicai.token_bucket import TokenBucket
from gateway.adapters.tls import shared_authorities
from gateway.ports import Access, Busy, Clock, Denied, Unknown, UpstreamProblem

# aiohttp raises these before it has a connection, so no byte of the request was written. Later it raises
# ClientOSError, ServerDisconnectedError and others. httpx-aiohttp turns both kinds into ConnectTimeout,
# so only the cause tells them apart. tests/project/test_dependencies.py pins where each is raised.
NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
_KEEP_ALIVE_SECONDS = 15.0
# Beyond this number, the buckets of credentials without a call in the last second are dropped.
_BUCKETS = 1_000
_LIMITED, _BROKEN = 429, 500

# Told of each call that was sent: `answered`, `limited` (429) or `failed` (5xx, or no whole answer), and its seconds.
CallListener = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """One request, with its deadline in seconds and the largest answer in bytes."""

    method: str
    path: str
    seconds: float
    max_bytes: int
    content: bytes = b""
    traceparent: str | None = None

    @property
    def is_urgent(self) -> bool:
        """Whether it precedes submits when the rate is limited."""
        return not self.content


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """A response; a non-empty `flaw` says why `body` is incomplete."""

    status: int
    headers: httpx.Headers
    body: bytes
    flaw: str = ""


class UpstreamHttp:
    """Connections to upstreams: no proxy, no redirects, no cookies, one pool for all tenants."""

    def __init__(
        self,
        clock: Clock,
        *,
        user_agent: str,
        connections: int,
        connections_per_host: int,
        connect_seconds: float,
        rate: float = 0.0,
        listener: CallListener,
    ) -> None:
        self._clock = clock
        self._listener = listener
        self._rate = rate
        self._buckets: dict[UUID, TokenBucket] = {}
        self._context = shared_authorities()
        self._connections = connections
        self._per_host = connections_per_host
        self._transport = AiohttpTransport(verify=self._context, client=self._session)
        self._bare_headers = httpx.Headers(
            {
                "user-agent": user_agent,
                "accept": "application/json",
                "accept-encoding": "identity",
            }
        )
        self._headers = httpx.Headers({**self._bare_headers, "content-type": "application/json"})
        self._extensions = {"timeout": {"connect": connect_seconds, "pool": connect_seconds}}

    async def send(
        self, access: Access, call: UpstreamCall
    ) -> UpstreamAnswer | Denied | Busy | Unknown:
        """Make one call within its deadline."""
        key = access.key.value
        if not (key.isascii() and key.isprintable()):
            return Denied(401, _UNUSABLE_KEY)
        try:
            url = _url(access.base_url + call.path)
        except (httpx.InvalidURL, ValueError) as error:
            return Busy(f"the upstream's base URL cannot be used: {error}")
        return await self._sent(access.credential_id, self._request(key, url, call), call)

    def _request(self, key: str, url: httpx.URL, call: UpstreamCall) -> httpx.Request:
        # Prepared streams and headers save httpx 50 us a request.
        headers = httpx.Headers(self._headers if call.content else self._bare_headers)
        headers["authorization"] = key
        if call.traceparent:
            headers["traceparent"] = call.traceparent
        request = httpx.Request(
            call.method,
            url,
            headers=headers,
            stream=httpx.ByteStream(call.content),
            extensions=self._extensions,
        )
        request.read()
        return request

    async def _sent(
        self, credential_id: UUID, request: httpx.Request, call: UpstreamCall
    ) -> UpstreamAnswer | Busy | Unknown:
        began: float | None = None
        try:
            async with asyncio.timeout(call.seconds):
                if self._rate:
                    await self._bucket(credential_id).take(urgent=call.is_urgent)
                began = self._clock.monotonic()
                answer = await self._exchange(request, call.max_bytes)
        except TimeoutError:
            if began is None:
                return Busy(
                    f"no call was free within {call.seconds:g} s at {self._rate:g} a second"
                )
            self._tell("failed", began)
            return Unknown(f"no answer within {call.seconds:g} s")
        except (httpx.HTTPError, aiohttp.ClientError, OSError, ValueError) as error:
            self._tell("failed", began)
            return _busy_or_unknown(error)
        self._tell(_outcome_of(answer), began)
        return answer

    def _tell(self, outcome: str, began: float | None) -> None:
        if began is not None:
            self._listener(outcome, self._clock.monotonic() - began)

    def _bucket(self, credential_id: UUID) -> TokenBucket:
        bucket = self._buckets.get(credential_id)
        if bucket is None:
            if len(self._buckets) >= _BUCKETS:
                self._buckets = {id_: one for id_, one in self._buckets.items() if not one.is_full}
            bucket = self._buckets[credential_id] = TokenBucket(self._rate)
        return bucket

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def _exchange(self, request: httpx.Request, max_bytes: int) -> UpstreamAnswer:
        response = await self._transport.handle_async_request(request)
        # The transport's own stream: httpx's wrappers cost 60 us and have nothing to decode here.
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - what every transport gives
        try:
            body, flaw = await _body(stream, max_bytes)
        finally:
            await stream.aclose()
        return UpstreamAnswer(response.status_code, response.headers, body, flaw)

    def _session(self) -> aiohttp.ClientSession:
        # Called by the transport at the first request, when there is a running loop.
        connector = aiohttp.TCPConnector(
            limit=self._connections,
            limit_per_host=self._per_host,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            ssl=self._context,
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _outcome_of(answer: UpstreamAnswer) -> str:
    if answer.status == _LIMITED:
        return "limited"
    return "failed" if answer.flaw or answer.status >= _BROKEN else "answered"


_UNUSABLE_KEY = UpstreamProblem(
    "KEY_UNUSABLE",
    "Unusable key",
    "The key holds characters that no HTTP header can carry: store it again.",
)


@lru_cache(maxsize=4096)
def _url(text: str) -> httpx.URL:
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.fragment:
        raise ValueError("it must look like https://host/path")
    return url


async def _body(stream: httpx.AsyncByteStream, max_bytes: int) -> tuple[bytes, str]:
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in stream:
            size += len(chunk)
            if size > max_bytes:
                return b"", f"the answer is larger than {max_bytes} bytes"
            chunks.append(chunk)
    except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
        return b"", f"the answer broke off: {_words(error)}"
    return b"".join(chunks), ""


def _busy_or_unknown(error: Exception) -> Busy | Unknown:
    cause = error.__cause__ or error
    if isinstance(cause, NEVER_SENT):
        return Busy(_words(cause))
    return Unknown(_words(cause))


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
