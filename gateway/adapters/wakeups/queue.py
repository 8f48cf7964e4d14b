"""Wake-ups and announcements over Redis, in arq's format but without its round trips.

Nothing here is truth: what cannot be sent is dropped and counted, and the sweep finds the work.
The methods of the port are for the event loop's own thread.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self
from uuid import UUID

import msgspec
from redis.asyncio import Redis

from gateway.adapters.redis.client import LOST, connect
from gateway.adapters.redis.failure_causes import CLUSTER, cause_of, diagnose
from gateway.adapters.redis.health import RedisHealth
from gateway.adapters.wakeups.announcements import Announcements
from gateway.adapters.wakeups.local import LocalWakeups
from gateway.adapters.wakeups.redis_commands import (
    BEACON,
    CHANGES,
    JOB_KEY,
    KICKS,
    QUEUE,
    back_off,
    end,
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
# A wake-up for now is dated back, so that it is due on hosts whose clocks are behind, too.
_CLOCKS_MS = 600_000

_USER = "wake-ups"  # by this name the health knows it


class ArqQueue:
    """The port Queue; a context manager that sends in the background while it is open.

    `dropped` counts the wake-ups and announcements that were lost for want of Redis.
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
        self._own = ids.random_bytes(6).hex()
        self._count = 0
        self._sent_at: dict[Verb, float] = {}
        self._trailing: dict[Verb, asyncio.TimerHandle] = {}
        self._remembered: set[str] = set()
        self._wakes: dict[str, tuple[Verb, int]] = {}
        self._subjects: set[str] = set()
        self._beacons: dict[UUID, int] = {}
        self._wanted = asyncio.Event()
        self._is_up = False
        self._heard = Announcements(
            self._redis, clock, ids, on_lost=self._wanted.set, on_change=self._hear
        )
        self._nudges = LocalWakeups()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> bool:
        """Whether wake-ups leave and announcements arrive, as far as known."""
        return self._is_up and self._heard.connected and self.trouble is None

    @property
    def trouble(self) -> str | None:
        """Why wake-ups do not pass, in one line; None while they do."""
        return self._health.trouble

    async def __aenter__(self) -> Self:
        """Start sending and listening; Redis may be away.

        Raises InvalidSettingsError where what answers is a Redis Cluster, which will never do.
        """
        self._is_up = await self._answers()
        if self.trouble == CLUSTER:
            await self._redis.aclose()
            raise InvalidSettingsError(f"GATEWAY_REDIS_URL: {CLUSTER}")
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._heard.run())]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what waits, once, and close."""
        await end(self._tasks)
        self._nudges.stop()
        for verb in list(self._trailing):
            self._trailing.pop(verb).cancel()
            self._add(verb)
        if self._is_up:
            await self._flush()
        self._is_up = False
        await self._redis.aclose()

    def listen(self, callback: Callable[[str], None]) -> None:
        """Have every announced subject told, and `*` whenever some may have been missed."""
        self._heard.listen(callback)

    def announce(self, subject: str) -> None:
        """Tell every process that a subject changed, and this one at once."""
        self._heard.tell(subject)
        if self._is_up:
            self._subjects.add(subject)
            self._wanted.set()
        else:
            self.dropped += 1

    def mirror(self, beacon: UUID, count: int) -> None:
        """Keep the number of a database's beacon where a restored database is not its only copy."""
        self._beacons[beacon] = count
        self._wanted.set()

    async def mirrored(self) -> Mapping[UUID, int]:
        """The numbers kept; none while Redis is away."""
        try:
            (found,) = await pipelined(self._redis, [("ZRANGE", BEACON, 0, -1, "WITHSCORES")])
        except LOST:
            return {}
        pairs = zip(found[::2], found[1::2], strict=True)
        return {UUID(id_.decode()): int(float(count)) for id_, count in pairs}

    def wake(self, verb: Verb, *, after: float = 0.0) -> None:
        """Ask for a verb to run in `after` seconds, in other processes on a grid of 250 ms."""
        if after > 0:
            self._nudges.later(verb, after)
            self._add_later(verb, after)
        elif verb not in self._trailing:
            self._add_or_hold(verb)

    def on_wake(self, callback: Callable[[Verb], None]) -> None:
        """Have what this process wakes called back here as well, without a way over Redis."""
        self._nudges.to(callback)

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
        self._nudges.now(verb)
        self._sent_at[verb] = self._clock.monotonic()
        if not self._is_up:
            self.dropped += 1
            return
        self._count += 1
        self._wakes[f"{verb}:{self._own}{self._count:x}"] = (verb, self._now_ms() - _CLOCKS_MS)
        self._wanted.set()

    def _add_later(self, verb: Verb, after: float) -> None:
        if not self._is_up:
            self.dropped += 1
            return
        # One more, for the part of a millisecond: a wake-up before the row is due would be wasted.
        due = self._now_ms() + 1 + math.ceil(min(after, _FARTHEST_SECONDS) * 1000)
        due += -due % _GRID_MS
        # Every process names it alike, so that all of them together make one wake-up.
        name = f"{verb}:{due}"
        if name in self._remembered:
            return
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered.add(name)
        self._wakes[name] = (verb, due)
        self._wanted.set()

    async def _send(self) -> None:
        if not self._is_up:
            await self._reconnect()
        while True:
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
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
            kicks = " ".join(f"{verb}:{due}" for verb, due in set(wakes.values()))
            commands.append(("PUBLISH", KICKS, kicks))
        commands += [("PUBLISH", CHANGES, subject) for subject in subjects]
        return commands

    async def _reconnect(self) -> None:
        self._is_up = False
        failures = 0
        while not self._is_up:
            failures += 1
            await back_off(self._clock, self._ids, failures)
            self._is_up = await self._answers()
        # Redis may have lost them with its memory.
        self._remembered.clear()

    async def _answers(self) -> bool:
        try:
            await probe(self._redis)
        except LOST as error:
            self._health.lost(_USER, await diagnose(error, self._address))
            return False
        self._health.found(_USER)
        return True

    def _hear(self, error: Exception | None) -> None:
        if error is None:
            self._health.found("announcements")
        else:
            self._health.lost("announcements", cause_of(error, self._address))

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)


def _job(verb: Verb, now_ms: int) -> bytes:
    # What arq stores: try, function, arguments, keyword arguments, time of enqueuing.
    job: dict[str, object] = {"t": None, "f": verb, "a": [], "k": {}, "et": now_ms}
    return msgspec.msgpack.encode(job)
