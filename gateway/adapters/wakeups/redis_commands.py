"""Redis, as far as wake-ups and announcements need it."""

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from gateway.adapters.redis.client import SILENCE_SECONDS
from gateway.ports import Clock, Ids

QUEUE = "gateway:queue"
KICKS = "gateway:kick"
CHANGES = "gateway:changed"
JOB_KEY = "arq:job:"
BEACON = "gateway:beacon"

# Once each command that we or arq send, on keys that nobody uses.
_TRIED, _JOB_TRIED = "gateway:probe", f"{JOB_KEY}gateway:probe"
_PROBE: Sequence[tuple[str | int, ...]] = (
    ("DEL", _TRIED, _JOB_TRIED),
    ("PSETEX", _JOB_TRIED, 60_000, ""),
    ("GET", _JOB_TRIED),
    ("PEXPIRE", _JOB_TRIED, 60_000),
    ("ZADD", _TRIED, 1, "probe"),
    ("ZINCRBY", _TRIED, 1, "probe"),
    ("ZSCORE", _TRIED, "probe"),
    ("ZRANGE", _TRIED, 0, 0),
    ("ZRANGEBYSCORE", _TRIED, 0, 0),
    ("ZCARD", _TRIED),
    ("ZREM", _TRIED, "probe"),
    ("INCR", _TRIED),
    ("EXPIRE", _TRIED, 60),
    ("EXISTS", _TRIED, _JOB_TRIED),
    ("PUBLISH", _TRIED, ""),
    ("EVALSHA", "0" * 40, 0),
    ("DEL", _TRIED, _JOB_TRIED),
)

# redis has hardly any types: its clients are Any where they are used, and only in this file.
_PATIENCE_SECONDS = 0.1
_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 2.0


async def pipelined(redis: Redis, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
    """The answers to several commands, sent in one go and not as a transaction."""
    pipe: Any = redis.pipeline(transaction=False)
    async with pipe:
        for command in commands:
            pipe.execute_command(*command)
        return await pipe.execute()


async def probe(redis: Redis) -> None:
    """Do once what wake-ups, rate limits and announcements need; raises one of LOST.

    A Cluster refuses it wherever the keys are: two of them in one command, of different slots.
    """
    pipe: Any = redis.pipeline(transaction=True)
    async with pipe:
        for command in _PROBE:
            pipe.execute_command(*command)
        answers = await pipe.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception) and not isinstance(answer, NoScriptError):
            raise answer


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
            await self.next(SILENCE_SECONDS)
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
