"""One webhook on its way, and what comes back.

The status line and headers are a receiver's answer, and they alone decide. The body is kept only
for people to read: one that is too long, broken off or not over by the deadline changes nothing
about an answer that has come. What ends before that is a fault.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

import aiohttp
import httpx

from gateway.adapters.heads import UnreadableError
from gateway.adapters.mishap import explain, passing
from gateway.adapters.stopwatch import Stopwatch, now
from gateway.core.webhook import Fault, Reply

MAX_READ = 64 * 1024
MAX_KEPT = 16 * 1024

# All that a receiver is known to make the libraries raise.
MISHAPS = (OSError, ValueError, httpx.HTTPError, aiohttp.ClientError)


class Exchange:
    """One webhook on its way, with as much of the answer as has come.

    A second try goes over `fresh`, which must not give it a kept connection: where one was stale,
    the others that are kept for that host may be too.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        fresh: httpx.AsyncBaseTransport,
        request: httpx.Request,
    ) -> None:
        self._transport = transport
        self._fresh = fresh
        self._request = request
        self._body = bytearray()
        self._response: httpx.Response | None = None
        self.stopwatch = Stopwatch()

    async def run(self) -> Reply:
        """The answer; one that failed before anything was sent is asked for once more."""
        try:
            return await self._try_once(self._transport)
        except MISHAPS as error:
            if self._response is not None or not passing(error, self.stopwatch):
                raise
        self.stopwatch.restart()
        return await self._try_once(self._fresh)

    def broken(self, error: BaseException) -> Reply | Fault:
        """What an exchange that broke off came to."""
        if self._response is not None:
            return self._reply(self._response)
        kind, detail = explain(error, self.stopwatch)
        return Fault(kind, detail, self.stopwatch.seconds(), self.stopwatch.timings())

    async def _try_once(self, transport: httpx.AsyncBaseTransport) -> Reply:
        try:
            return await self._ask(transport)
        except MISHAPS:
            raise
        except Exception as error:
            if self.stopwatch.ready is None:
                raise
            report = {"message": "an answer could not be read", "exception": error}
            asyncio.get_running_loop().call_exception_handler(report)
            why = f"The gateway could not read the answer ({type(error).__name__})."
            raise UnreadableError(why) from error

    async def _ask(self, transport: httpx.AsyncBaseTransport) -> Reply:
        response = await transport.handle_async_request(self._request)
        self.stopwatch.answered = now()
        self._response = response
        stream = cast("httpx.AsyncByteStream", response.stream)
        try:
            await self._read(cast("AsyncGenerator[bytes]", aiter(stream)))
        finally:
            await stream.aclose()
        return self._reply(response)

    async def _read(self, body: AsyncGenerator[bytes]) -> None:
        size = 0
        async with aclosing(body) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                self._body += chunk[: MAX_KEPT - len(self._body)]
                if size > MAX_READ:
                    return

    def _reply(self, response: httpx.Response) -> Reply:
        return Reply(
            response.status_code,
            _readable(response.headers.raw),
            bytes(self._body),
            self.stopwatch.seconds(),
            self.stopwatch.timings(),
        )


def _readable(raw: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    kept: list[tuple[str, str]] = []
    room = MAX_KEPT
    for name, value in raw:
        room -= len(name) + len(value)
        if room < 0:
            break
        kept.append((_printable(name).lower(), _printable(value)))
    return tuple(kept)


def _printable(text: bytes) -> str:
    shown = text.decode("latin-1")
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else "\ufffd" for c in shown)
