"""Group commit: writes of many tasks share one transaction.

Used for accepted jobs, outcomes of submits and of webhooks, and shared reads. Each caller gets its
answer after its own commit. Items that wait are in memory only: after a crash their callers have no
answer, and the rows are as they were.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from gateway.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Batches items without a timer: while a write is under way, the next ones gather.

    `write` stores all items of a batch in one transaction and returns their results in order.
    When a batch fails for a reason of its own, each item is written alone, so that one bad item
    does not fail the others. Every caller is answered after its own commit.
    """

    def __init__(
        self,
        write: Callable[[list[T]], Awaitable[list[R]]],
        *,
        batch: int,
        writers: int,
        linger: float = 0.0,
        waiting: int = 10_000,
    ) -> None:
        self._write = write
        self._batch = batch
        self._writers = writers
        self._linger = linger
        self._limit = waiting
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def add(self, item: T) -> R:
        """Write an item; raises Unavailable at once when too many wait already."""
        if len(self._waiting) >= self._limit:
            raise Unavailable("Too many writes are waiting; nothing was changed.", retry_after=1)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        if len(self._running) < self._writers:
            self._running.add(loop.create_task(self._run()))
        # A caller that goes away cancels its future and nothing else.
        return await future

    async def _run(self) -> None:
        if self._linger:
            await asyncio.sleep(self._linger)
        while self._waiting:
            count = min(len(self._waiting), self._batch)
            batch = [self._waiting.popleft() for _ in range(count)]
            await self._flush(batch)
        # No await since the last check: an item that is added from now on starts a new writer.
        self._running -= {asyncio.current_task()}

    async def _flush(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._write([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - handed to the callers
            if len(batch) > 1 and not isinstance(error, Unavailable):
                for entry in batch:
                    await self._flush([entry])
                return
            if isinstance(error, Unavailable):
                # The next batch would wait just as long and fail as well.
                batch += self._waiting
                self._waiting.clear()
            for _, future in batch:
                _fail(future, error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)


def _fail(future: "asyncio.Future[R]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        # Mark it as retrieved: a caller that went away must not cause a warning.
        future.exception()
