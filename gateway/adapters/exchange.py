"""One webhook on its way, and what comes back.

The status line and headers are a receiver's answer, and they alone decide. The body is kept only
for people to read: one that is too long, broken off or not over by the deadline changes nothing
about an answer that has come. What ends before that is a fault.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from typing_extensions import override

from gateway.adapters.mishap import explain, passing
from gateway.adapters.stopwatch import Stopwatch, now
from gateway.core.webhook import Fault, Reply

MAX_READ = 64 * 1024
MAX_KEPT = 16 * 1024

_STATUS_LINE = b"HTTP/"
_HEAD_END = b"\r\n\r\n"

# All that a receiver can make the libraries raise; anything else is a defect of ours.
MISHAPS = (OSError, ValueError, httpx.HTTPError, aiohttp.ClientError)


class HeadFirst(ResponseHandler):
    """Reads the head of an answer by itself, so that what follows cannot take it away again."""

    @override
    def data_received(self, data: bytes) -> None:
        head, end, rest = data.partition(_HEAD_END)
        if not (rest and data.startswith(_STATUS_LINE)):
            super().data_received(data)
            return
        super().data_received(head + end)
        self.data_received(rest)


class Exchange:
    """One webhook on its way, with as much of the answer as has come."""

    def __init__(self, transport: httpx.AsyncBaseTransport, request: httpx.Request) -> None:
        self._transport = transport
        self._request = request
        self._body = bytearray()
        self._response: httpx.Response | None = None
        self.stopwatch = Stopwatch()

    async def run(self) -> Reply:
        """The answer; one that failed before anything was sent is asked for once more."""
        try:
            return await self._try_once()
        except MISHAPS as error:
            if self._response is not None or not passing(error, self.stopwatch):
                raise
        self.stopwatch.restart()
        return await self._try_once()

    def broken(self, error: BaseException) -> Reply | Fault:
        """What an exchange that broke off came to."""
        if self._response is not None:
            return self._reply(self._response)
        kind, detail = explain(error, self.stopwatch)
        return Fault(kind, detail, self.stopwatch.seconds(), self.stopwatch.timings())

    async def _try_once(self) -> Reply:
        response = await self._transport.handle_async_request(self._request)
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
