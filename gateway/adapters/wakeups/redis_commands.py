"""The few Redis operations that wake-ups and announcements need, and the names of their keys."""

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from arq.constants import job_key_prefix
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from gateway.adapters.redis.client import SILENCE_SECONDS
from gateway.ports import Clock, Ids

QUEUE = "gateway:queue"
WAKE_CHANNEL = "gateway:kick"
ANNOUNCE_CHANNEL = "gateway:changed"
JOB_KEY = job_key_prefix
BEACON = "gateway:beacon"

# Each command that we or arq send, once, on keys that nothing else uses.
_PROBE_KEY, _PROBE_JOB = "gateway:probe", f"{JOB_KEY}gateway:probe"
_PROBE: Sequence[tuple[str | int, ...]] = (
    ("DEL", _PROBE_KEY, _PROBE_JOB),
    ("PSETEX", _PROBE_JOB, 60_000, ""),
    ("GET", _PROBE_JOB),
    ("PEXPIRE", _PROBE_JOB, 60_000),
    ("ZADD", _PROBE_KEY, 1, "probe"),
    ("ZINCRBY", _PROBE_KEY, 1, "probe"),
    ("ZSCORE", _PROBE_KEY, "probe"),
    ("ZRANGE", _PROBE_KEY, 0, 0),
    ("ZCARD", _PROBE_KEY),
    ("ZREM", _PROBE_KEY, "probe"),
    ("INCR", _PROBE_KEY),
    ("EXPIRE", _PROBE_KEY, 60),
    ("EXISTS", _PROBE_KEY, _PROBE_JOB),
    ("PUBLISH", _PROBE_KEY, ""),
    ("EVALSHA", "0" * 40, 0),
    ("DEL", _PROBE_KEY, _PROBE_JOB),
)

# redis-py has hardly any types: its clients are Any where they are used, and only in this file.
_CANCEL_SECONDS = 0.1
_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 2.0


async def pipelined(redis: Redis, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
    """Send several commands in one round trip, not as a transaction, and return the answers."""
    pipe: Any = redis.pipeline(transaction=False)
    async with pipe:
        for command in commands:
            pipe.execute_command(*command)
        return await pipe.execute()


async def probe(redis: Redis) -> None:
    """Try every command that wake-ups, rate limits and announcements need; raises one of LOST.

    A Redis Cluster always refuses it: one command names two keys of different slots.
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
    """Wait after `failures` in a row: exponential back-off with jitter, from 0.1 s up to 2 s."""
    longest = min(_FIRST_BACKOFF * 2 ** min(failures - 1, 10), _LONGEST_BACKOFF)
    await clock.sleep(longest * (1 - ids.jitter() / 4))


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are done, whatever their results.

    One cancellation is not enough: Python 3.11's wait_for, which redis-py uses, may lose it.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_SECONDS)


class Subscription:
    """A subscription to one channel, on a connection of its own."""

    def __init__(self, redis: Redis, channel: str) -> None:
        client: Any = redis
        self._pubsub = client.pubsub()
        self._channel = channel

    async def __aenter__(self) -> Self:
        """Subscribe and wait for the confirmation; later messages are not missed."""
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
        """Release the connection."""
        await self._pubsub.aclose()

    async def next(self, seconds: float) -> str | None:
        """Return the next message, an empty text for any other reply, or None after `seconds`."""
        found = await self._pubsub.get_message(timeout=seconds)
        if found is None:
            return None
        return found["data"].decode() if found["type"] == "message" else ""

    async def ping(self) -> None:
        """Send a ping; the reply comes out of `next` as an empty text."""
        await self._pubsub.ping()
