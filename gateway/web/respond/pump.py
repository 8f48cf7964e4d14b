"""Sends a long response piece by piece, while its reader takes each piece in time."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from gateway.web.asgi.types import Message, Receive, Send

_STEP_SECONDS = 0.25


class Pump:
    """Sends pieces to one reader, which has so many seconds to take each."""

    def __init__(
        self, send: Send, gone: asyncio.Task[None], closing: Callable[[], bool], seconds: float
    ) -> None:
        self._send = send
        self._closing = closing
        self._seconds = seconds
        self.gone = gone  # ends when the reader disconnects

    @property
    def is_over(self) -> bool:
        """Whether the reader has disconnected or the process stops."""
        return self.gone.done() or self._closing()

    async def deliver(self, content: bytes) -> bool:
        """Send one piece; False if the reader disconnected or did not take it in time."""
        return await self._deliver(body_message(content))

    async def end(self) -> bool:
        """Send the end of the response; False as in `deliver`."""
        return await self._deliver(body_message(b"", more=False))

    async def _deliver(self, message: Message) -> bool:
        sending, left = asyncio.ensure_future(self._send(message)), self._seconds
        try:
            while left > 0 and not sending.done():
                step = min(left, _STEP_SECONDS)
                left = 0 if self.is_over else left - step
                await asyncio.wait({sending}, timeout=step)
            return sending.done()
        finally:
            await cancel_and_wait(sending)


@asynccontextmanager
async def pump(
    receive: Receive, send: Send, closing: Callable[[], bool], seconds: float
) -> AsyncGenerator[Pump]:
    """A pump for the block; `closing` says whether the process stops."""
    gone = asyncio.create_task(_until_disconnect(receive))
    try:
        yield Pump(send, gone, closing, seconds)
    finally:
        await cancel_and_wait(gone)


def body_message(content: bytes, *, more: bool = True) -> Message:
    """The ASGI message with a piece of a response body."""
    return {"type": "http.response.body", "body": content, "more_body": more}


async def cancel_and_wait(task: asyncio.Future[Any]) -> None:
    """Cancel a task and wait until it has ended; its exception is ignored."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
