"""Server-sent events: a response that lasts until its reader leaves or the process drains."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.web.asgi.types import Message, Receive, Scope, Send
from gateway.web.respond.concurrency_limits import ConcurrencyLimit
from gateway.web.respond.pump import Pump, body_message, cancel_and_wait, pump

HEARTBEAT_SECONDS = 15.0
# A reader that takes longer to read one frame is disconnected; it can resume.
SEND_SECONDS = 10.0

_HEARTBEAT = b":\n\n"
_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store, no-transform"),
        (b"x-accel-buffering", b"no"),
    ],
}


@dataclass(frozen=True, slots=True)
class EventStream:
    """An ASGI response that sends frames as they come, and a comment after 15 s without one.

    It ends when the frames end, when its caller loses access (`admitted`), when the reader
    disconnects or reads nothing for 10 s, and when the process stops (`closing`).
    """

    streams: ConcurrencyLimit
    owner: str
    frames: AsyncGenerator[bytes]
    admitted: Callable[[], AbstractAsyncContextManager[None]]
    closing: Callable[[], bool]
    bodiless: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; raises StreamsFull before anything is sent."""
        del scope
        async with aclosing(self.frames):
            with self.streams.room(self.owner):
                await send(dict(_START))
                if self.bodiless:
                    await send(body_message(b"", more=False))
                    return
                async with pump(receive, send, self.closing, SEND_SECONDS) as reader:
                    await self._send_frames(reader)

    async def _send_frames(self, reader: Pump) -> None:
        coming, is_taken = _next(self.frames), True
        try:
            async with self.admitted():
                while is_taken and not reader.gone.done():
                    await asyncio.wait(
                        {coming, reader.gone},
                        timeout=HEARTBEAT_SECONDS,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    frame = _HEARTBEAT
                    if coming.done():
                        frame, coming = coming.result(), _next(self.frames)
                    if frame is None:
                        break
                    is_taken = await reader.deliver(frame)
        except GatewayError:
            pass  # for example the database is away; the reader reconnects and resumes
        finally:
            await cancel_and_wait(coming)
        if is_taken:
            await reader.end()


def _next(frames: AsyncGenerator[bytes]) -> asyncio.Task[bytes | None]:
    async def one() -> bytes | None:
        return await anext(frames, None)

    return asyncio.create_task(one())
