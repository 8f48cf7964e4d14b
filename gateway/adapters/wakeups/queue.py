"""Sends wake-ups and announcements over Redis, in arq's format but in one round trip.

It runs in every process. `ArqRedis.enqueue_job` is not used: it costs six commands and three round
trips per wake-up, and this costs one round trip for all wake-ups of 20 ms. The queue promises
nothing: while Redis is away, wake-ups and announcements are dropped and counted, and the sweep finds
the due rows. A crash loses at most the wake-ups of the last milliseconds. All methods of the port
belong to the event loop's thread.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self
from uuid import UUID

import msgspec
from arq.jobs import serialize_job
from redis.asyncio import Redis

from gateway.adapters.redis.client import LOST, connect
from gateway.adapters.redis.failure_causes import CLUSTER, cause_of, diagnose
from gateway.adapters.redis.health import RedisHealth
from gateway.adapters.wakeups.announcements import Announcements
from gateway.adapters.wakeups.local import LocalWakeups
from gateway.adapters.wakeups.redis_commands import (
    ANNOUNCE_CHANNEL,
    BEACON,
    JOB_KEY,
    QUEUE,
    WAKE_CHANNEL,
    back_off,
    cancel_all,
    pipelined,
    probe,
)
from gateway.config.environment import InvalidSettingsError
from gateway.config.redis_url import parse_redis_url
from gateway.ports import Clock, Ids, Verb

_WINDOW_SECONDS = 0.02
_GRID_MS = 250
_KEEP_MS = 86_400_000
_FARTHEST_SECONDS = 30 * 86_400.0
_MAX_REMEMBERED = 10_000
_IDLE_SECONDS = 5.0
# An immediate wake-up is dated back, so that it is due on hosts whose clocks are behind, too.
_CLOCK_SKEW_MS = 600_000

_USER = "wake-ups"  # its name in RedisHealth


class ArqQueue:
    """Implements the port Queue; a context manager that sends in the background while it is open.

    `dropped` counts the wake-ups and announcements that were lost because Redis was away.
    """

    def __init__(
        self, redis_url: str, clock: Clock, ids: Ids, health: RedisHealth | None = None
    ) -> None:
        self.dropped = 0
        self._address = parse_redis_url(redis_url)
        self._health = health or RedisHealth(str(self._address))
        self._clock = clock
        self._ids = ids
        self._redis = connect(redis_url, Redis)
        self._process = ids.random_bytes(6).hex()
        self._count = 0
        self._sent_at: dict[Verb, float] = {}
        self._trailing: dict[Verb, asyncio.TimerHandle] = {}
        self._remembered: set[str] = set()
        self._wakes: dict[str, tuple[Verb, int]] = {}
        self._subjects: set[str] = set()
        self._beacons: dict[UUID, int] = {}
        self._has_work = asyncio.Event()
        self._is_up = False
        self._announcements = Announcements(
            self._redis,
            clock,
            ids,
            on_lost=self._has_work.set,
            on_change=self._on_announcements_change,
        )
        self._local = LocalWakeups()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> bool:
        """Whether wake-ups leave and announcements arrive, by what is known."""
        return self._is_up and self._announcements.connected and self.trouble is None

    @property
    def trouble(self) -> str | None:
        """The reason why Redis cannot be used, in one line; None while it can."""
        return self._health.trouble

    async def __aenter__(self) -> Self:
        """Start sending and listening; Redis may be away.

        Raises InvalidSettingsError if the server is a Redis Cluster, which cannot work.
        """
        self._is_up = await self._is_usable()
        if self.trouble == CLUSTER:
            await self._redis.aclose()
            raise InvalidSettingsError(f"GATEWAY_REDIS_URL: {CLUSTER}")
        self._tasks = [
            asyncio.create_task(self._send()),
            asyncio.create_task(self._announcements.run()),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send the pending wake-ups once, then close."""
        await cancel_all(self._tasks)
        self._local.stop()
        for verb in list(self._trailing):
            self._trailing.pop(verb).cancel()
            self._add(verb)
        if self._is_up:
            await self._flush()
        self._is_up = False
        await self._redis.aclose()

    def listen(self, callback: Callable[[str], None]) -> None:
        """Call this with every announced subject, and with `*` when some may have been missed."""
        self._announcements.listen(callback)

    def announce(self, subject: str) -> None:
        """Tell every process that a subject changed: this one at once, the others through Redis."""
        self._announcements.notify(subject)
        if self._is_up:
            self._subjects.add(subject)
            self._has_work.set()
        else:
            self.dropped += 1

    def mirror(self, beacon: UUID, count: int) -> None:
        """Copy the number of a database's beacon to Redis, where a restore of the database leaves it."""
        self._beacons[beacon] = count
        self._has_work.set()

    async def mirrored(self) -> Mapping[UUID, int]:
        """Return the copied numbers by database; empty while Redis is away."""
        try:
            (found,) = await pipelined(self._redis, [("ZRANGE", BEACON, 0, -1, "WITHSCORES")])
        except LOST:
            return {}
        pairs = zip(found[::2], found[1::2], strict=True)
        return {UUID(id_.decode()): int(float(count)) for id_, count in pairs}

    def wake(self, verb: Verb, *, after: float = 0.0) -> None:
        """Ask for a verb to run in `after` seconds; other processes run it on a grid of 250 ms."""
        if after > 0:
            self._local.wake_later(verb, after)
            self._add_later(verb, after)
        elif verb not in self._trailing:
            self._add_or_hold(verb)

    def on_wake(self, callback: Callable[[Verb], None]) -> None:
        """Call this with every verb that this process wakes, without a way through Redis."""
        self._local.call_back(callback)

    def _add_or_hold(self, verb: Verb) -> None:
        rest = self._sent_at.get(verb, 0.0) + _WINDOW_SECONDS - self._clock.monotonic()
        if rest <= 0:
            self._add(verb)
        else:
            loop = asyncio.get_running_loop()
            self._trailing[verb] = loop.call_later(rest, self._release, verb)

    def _release(self, verb: Verb) -> None:
        del self._trailing[verb]
        self._add(verb)

    def _add(self, verb: Verb) -> None:
        self._local.wake_now(verb)
        self._sent_at[verb] = self._clock.monotonic()
        if not self._is_up:
            self.dropped += 1
            return
        self._count += 1
        self._wakes[f"{verb}:{self._process}{self._count:x}"] = (
            verb,
            self._now_ms() - _CLOCK_SKEW_MS,
        )
        self._has_work.set()

    def _add_later(self, verb: Verb, after: float) -> None:
        if not self._is_up:
            self.dropped += 1
            return
        # Plus one for the fraction of a millisecond: a wake-up before the row is due is wasted.
        due = self._now_ms() + 1 + math.ceil(min(after, _FARTHEST_SECONDS) * 1000)
        due += -due % _GRID_MS
        # Every process uses the same name, so that all of them make one wake-up.
        name = f"{verb}:{due}"
        if name in self._remembered:
            return
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered.add(name)
        self._wakes[name] = (verb, due)
        self._has_work.set()

    async def _send(self) -> None:
        if not self._is_up:
            await self._reconnect()
        while True:
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    await self._has_work.wait()
            except TimeoutError:
                pass
            self._has_work.clear()
            if not await self._flush():
                await self._reconnect()

    async def _flush(self) -> bool:
        wakes, self._wakes = self._wakes, {}
        subjects, self._subjects = self._subjects, set()
        beacons, self._beacons = self._beacons, {}
        commands = self._commands(wakes, subjects)
        commands += [("ZADD", BEACON, "GT", n, str(id_)) for id_, n in beacons.items()]
        try:
            await (pipelined(self._redis, commands) if commands else probe(self._redis))
        except LOST as error:
            self._health.lost(_USER, cause_of(error, self._address))
            self.dropped += len(wakes) + len(subjects)
            return False
        return True

    def _commands(
        self, wakes: dict[str, tuple[Verb, int]], subjects: set[str]
    ) -> list[tuple[str | bytes | int, ...]]:
        commands: list[tuple[str | bytes | int, ...]] = []
        now = self._now_ms()
        if wakes:
            for name, (verb, due) in wakes.items():
                keep = max(due - now, 0) + _KEEP_MS
                commands.append(("PSETEX", JOB_KEY + name, keep, _job(verb, now)))
            scores = [part for name, (_, due) in wakes.items() for part in (due, name)]
            commands.append(("ZADD", QUEUE, *scores))
            message = " ".join(f"{verb}:{due}" for verb, due in set(wakes.values()))
            commands.append(("PUBLISH", WAKE_CHANNEL, message))
        commands += [("PUBLISH", ANNOUNCE_CHANNEL, subject) for subject in subjects]
        return commands

    async def _reconnect(self) -> None:
        self._is_up = False
        failures = 0
        while not self._is_up:
            failures += 1
            await back_off(self._clock, self._ids, failures)
            self._is_up = await self._is_usable()
        # Redis may have lost these entries together with its memory.
        self._remembered.clear()

    async def _is_usable(self) -> bool:
        try:
            await probe(self._redis)
        except LOST as error:
            self._health.lost(_USER, await diagnose(error, self._address))
            return False
        self._health.found(_USER)
        return True

    def _on_announcements_change(self, error: Exception | None) -> None:
        if error is None:
            self._health.found("announcements")
        else:
            self._health.lost("announcements", cause_of(error, self._address))

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)


def _job(verb: Verb, now_ms: int) -> bytes:
    return serialize_job(verb, (), {}, None, now_ms, serializer=msgspec.msgpack.encode)
