"""Asks an identity provider over HTTP: one deadline a call, a cap on what is read, no redirects."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from gateway.adapters.tls import shared_authorities
from gateway.ports import ProviderFault

_SECONDS = 10.0
_MOST_BYTES = 1_048_576
_LONGEST_CAUSE = 300


class ProviderReply(NamedTuple):
    """A response whose body is a JSON object."""

    status: int
    values: Mapping[str, Any]


class ProviderHttp:
    """Connections to one provider: no proxy, no cookies, certificates are verified."""

    def __init__(self, name: str, *, user_agent: str) -> None:
        self._name = name
        self._context = shared_authorities()
        # Identity: a compressed answer could be larger than what is read of it.
        headers = {"user-agent": user_agent, "accept-encoding": "identity"}
        self._client = httpx.AsyncClient(
            transport=AiohttpTransport(verify=self._context, client=self._session),
            headers={**headers, "accept": "application/json"},
            trust_env=False,
            timeout=_SECONDS,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def get(self, url: str) -> ProviderReply | ProviderFault:
        """Read a document."""
        return await self._send(httpx.Request("GET", url, headers=self._client.headers))

    async def post(
        self, url: str, body: str, headers: Mapping[str, str]
    ) -> ProviderReply | ProviderFault:
        """Send a form."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        given = {**self._client.headers, **headers, **kind}
        return await self._send(httpx.Request("POST", url, headers=given, content=body))

    async def _send(self, request: httpx.Request) -> ProviderReply | ProviderFault:
        where = f"{request.method} {request.url.host}{request.url.path}"
        try:
            async with asyncio.timeout(_SECONDS):
                response = await self._client.send(request, stream=True)
                try:
                    body = await _body(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            return self._away("gives no answer", f"{where}: no answer within {_SECONDS:g} s")
        except (httpx.HTTPError, aiohttp.ClientError, OSError, ValueError) as error:
            cause = error.__cause__ or error
            words = f"{where}: {type(cause).__name__}: {cause}"[:_LONGEST_CAUSE]
            return self._away("cannot be reached", words)
        values = _object(body)
        if values is None:
            status = f"{where}: {response.status_code}, which is no JSON object of at most 1 MiB"
            return self._away("gives an answer that cannot be read", status)
        return ProviderReply(response.status_code, values)

    def _away(self, what: str, cause: str) -> ProviderFault:
        advice = "Try again in a moment, or sign in with an operator key."
        return ProviderFault("away", f"{self._name} {what}. {advice}", cause)

    def _session(self) -> aiohttp.ClientSession:
        # Called by the transport at the first request, when there is a running loop.
        connector = aiohttp.TCPConnector(ssl=self._context)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def _body(response: httpx.Response) -> bytes:
    """The body; empty if it is larger than the cap."""
    found = bytearray()
    async for chunk in response.aiter_raw():
        found += chunk
        if len(found) > _MOST_BYTES:
            return b""
    return bytes(found)


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else None
