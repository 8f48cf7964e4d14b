"""Group commit: what many tasks want to write at the same time goes in one transaction."""

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
    fails nobody else. Every caller is answered after its own commit.
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
        # Before anybody else runs: whoever adds from now on needs a new writer.
        self._running -= {asyncio.current_task()}

    async def _flush(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._write([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            if len(batch) > 1 and not isinstance(error, Unavailable):
                for one in batch:
                    await self._flush([one])
                return
            if isinstance(error, Unavailable):
                # The next batch would only wait as long for the same answer.
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
        # Retrieved here, so that a caller who went away leaves no warning behind.
        future.exception()
