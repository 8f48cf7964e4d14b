"""Downloads: a response of any length, sent in chunks as fast as its reader takes them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from dataclasses import dataclass, field

from gateway.errors import GatewayError, Unavailable
from gateway.web.asgi.http10_end import Ending, reset_unless_whole
from gateway.web.asgi.types import Message, Receive, Scope, Send
from gateway.web.respond.concurrency_limits import ConcurrencyLimit
from gateway.web.respond.pump import Pump, body_message, pump

# A reader that reads nothing for so long is disconnected.
IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Download:
    """An ASGI response that is sent in chunks, the next one once the reader has taken the last.

    It breaks off when the process stops, the database is away, its caller loses access
    (`admitted`), or nothing was read for 60 s. The last chunk is then missing; over HTTP/1.0 the
    connection is reset.
    """

    media_type: str
    chunks: AsyncGenerator[bytes]
    streams: ConcurrencyLimit
    owner: str
    closing: Callable[[], bool]
    admitted: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    bodiless: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises StreamsFull, Unavailable and what the first chunk raises, before any byte."""
        async with aclosing(self.chunks):
            with self.streams.room(self.owner):
                first = b"" if self.bodiless else await anext(self.chunks, b"")
                if self.closing():
                    raise Unavailable("This process is stopping. Ask again.", retry_after=1)
                if self.bodiless:
                    await send(self._start())
                    await send(body_message(b"", more=False))
                    return
                async with (
                    reset_unless_whole(scope) as ending,
                    pump(receive, send, self.closing, IDLE_SECONDS) as reader,
                ):
                    await send(self._start())
                    await self._send_chunks(reader, first, ending)

    def _start(self) -> Message:
        named = {"Content-Type": self.media_type, "Vary": "Accept", **self.headers}
        headers = [(name.lower().encode(), text.encode()) for name, text in named.items()]
        return {"type": "http.response.start", "status": 200, "headers": headers}

    async def _send_chunks(self, reader: Pump, first: bytes, ending: Ending) -> None:
        with suppress(GatewayError):
            async with self.admitted():
                chunk = first
                while not reader.is_over and await reader.deliver(chunk):
                    if not (chunk := await anext(self.chunks, b"")):
                        await self._end(reader, ending)
                        return

    async def _end(self, reader: Pump, ending: Ending) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.time() + IDLE_SECONDS
        if await ending.allow(lambda: reader.is_over or loop.time() > limit):
            await reader.end()
