"""Redis, as far as wake-ups and announcements need it."""

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.ports import Clock, Ids

_Client = TypeVar("_Client", bound=Redis)

QUEUE = "gateway:queue"
KICKS = "gateway:kick"
CHANGES = "gateway:changed"
JOB_KEY = "arq:job:"
BEACON = "gateway:beacon"

LOST = (RedisError, OSError)  # OSError includes TimeoutError

# redis has hardly any types: its clients are Any where they are used, and only in this file.
_SILENCE_SECONDS = 2.0
_PATIENCE_SECONDS = 0.1
_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 2.0


def connect(redis_url: str, kind: type[_Client]) -> _Client:
    """A client that gives up on a silent server after 2 s; connects when first used."""
    client: Any = kind
    return client.from_url(
        redis_url, socket_timeout=_SILENCE_SECONDS, socket_connect_timeout=_SILENCE_SECONDS
    )


async def pipelined(redis: Redis, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
    """The answers to several commands, sent in one go and not as a transaction."""
    pipe: Any = redis.pipeline(transaction=False)
    async with pipe:
        for command in commands:
            pipe.execute_command(*command)
        return await pipe.execute()


async def back_off(clock: Clock, ids: Ids, failures: int) -> None:
    """Wait after a number of failures in a row: 0.1 s, then twice as long, up to 2 s."""
    longest = min(_FIRST_BACKOFF * 2 ** min(failures - 1, 10), _LONGEST_BACKOFF)
    await clock.sleep(longest * (1 - ids.jitter() / 4))


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are done, whatever became of them.

    One cancellation is not enough: Python 3.11's wait_for, which redis writes with, may lose it.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_PATIENCE_SECONDS)


class Subscription:
    """One channel, on a connection of its own."""

    def __init__(self, redis: Redis, channel: str) -> None:
        client: Any = redis
        self._pubsub = client.pubsub()
        self._channel = channel

    async def __aenter__(self) -> Self:
        """Subscribe; once the confirmation is here, nothing published is missed."""
        try:
            await self._pubsub.subscribe(self._channel)
            await self.next(_SILENCE_SECONDS)
        except BaseException:  # a cancelled caller must not leave a connection behind
            await self._pubsub.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the connection back."""
        await self._pubsub.aclose()

    async def next(self, seconds: float) -> str | None:
        """The next message, an empty text for another sign of life, None for silence."""
        found = await self._pubsub.get_message(timeout=seconds)
        if found is None:
            return None
        return found["data"].decode() if found["type"] == "message" else ""

    async def ping(self) -> None:
        """Ask for a sign of life."""
        await self._pubsub.ping()
