"""Answers that go on: server-sent events, as many as a process has room for, until it drains."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from gateway.errors import GatewayError, StreamsFull
from gateway.web.asgi.types import Message, Receive, Scope, Send

HEARTBEAT_SECONDS = 15.0
# Who takes longer to read what was sent is cut off, and can resume.
SEND_SECONDS = 10.0

_MOST_OF_ONE = 20
_MOST = 1_000
# Each has up to 3 MB in memory.
MOST_EXPORTS = 60
_RETRY_SECONDS = 5
_STEP_SECONDS = 0.25
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


class Streams:
    """The room for streams in one process: 20 for one owner, and so many for all."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most  # None is the most streams
        self._open: Counter[str] = Counter()

    @contextmanager
    def room(self, owner: str) -> Generator[None]:
        """Take a place within the block; raises StreamsFull."""
        if self._open[owner] >= _MOST_OF_ONE:
            raise _full(
                f"There are {_MOST_OF_ONE} streams open already. Close one, or share one.",
                _MOST_OF_ONE,
            )
        most = _MOST if self._most is None else self._most
        if self._open.total() >= most:
            raise _full("This process has no room for another stream.", most)
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]


def _full(detail: str, quota: int) -> StreamsFull:
    return StreamsFull(detail, quota=quota, room=0, retry_after=_RETRY_SECONDS)


@dataclass(frozen=True, slots=True)
class EventStream:
    """An ASGI answer that sends frames as they come, with a comment every 15 s in between.

    Ends with its frames, when its caller is not `admitted` any more, goes away or does not read for
    10 s, and when `closing` says that the process stops.
    """

    streams: Streams
    owner: str
    frames: AsyncGenerator[bytes]
    admitted: Callable[[], AbstractAsyncContextManager[None]]
    closing: Callable[[], bool]
    bodiless: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; raises StreamsFull before anything is sent."""
        del scope
        async with aclosing(self.frames):
            with self.streams.room(self.owner):
                await send(dict(_START))
                if self.bodiless:
                    await send(_body(b"", more=False))
                    return
                gone = asyncio.create_task(_gone(receive))
                try:
                    await self._pump(send, gone)
                finally:
                    await _ended(gone)

    async def _pump(self, send: Send, gone: asyncio.Task[None]) -> None:
        coming, is_taken = _next(self.frames), True
        try:
            async with self.admitted():
                while is_taken and not gone.done():
                    await asyncio.wait(
                        {coming, gone},
                        timeout=HEARTBEAT_SECONDS,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    frame = _HEARTBEAT
                    if coming.done():
                        frame, coming = coming.result(), _next(self.frames)
                    if frame is None:
                        break
                    is_taken = await self._takes(send, _body(frame), gone)
        except GatewayError:
            pass  # such as no database; who comes back is told
        finally:
            await _ended(coming)
        if is_taken:
            await self._takes(send, _body(b"", more=False), gone)

    async def _takes(self, send: Send, message: Message, gone: asyncio.Task[None]) -> bool:
        """Whether a message went out in time."""
        sending, left = asyncio.ensure_future(send(message)), SEND_SECONDS
        try:
            while left > 0 and not sending.done():
                step = min(left, _STEP_SECONDS)
                left = 0 if self.closing() or gone.done() else left - step
                await asyncio.wait({sending}, timeout=step)
            return sending.done()
        finally:
            await _ended(sending)


def _body(content: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def _next(frames: AsyncGenerator[bytes]) -> asyncio.Task[bytes | None]:
    async def one() -> bytes | None:
        return await anext(frames, None)

    return asyncio.create_task(one())


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
