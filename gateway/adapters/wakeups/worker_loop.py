"""Runs the handlers when wake-ups fall due, by arq while there is Redis and by the clock without."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.adapters.redis.client import LOST
from gateway.adapters.redis.failure_causes import cause_of
from gateway.adapters.redis.health import RedisHealth
from gateway.adapters.wakeups.arq_worker import following
from gateway.adapters.wakeups.redis_commands import back_off, end
from gateway.adapters.wakeups.single_run import SingleRun
from gateway.config.redis_url import parse_redis_url
from gateway.ports import Clock, Ids, Verb

Handler = Callable[[], Awaitable[None]]

_FALLBACK_SECONDS = 1.0
_USER = "work"  # by this name the health knows it


class WorkerLoop:
    """Sessions of all verbs and the sweep; `degraded` while Redis is away, `alive_at` monotonic."""

    def __init__(
        self,
        redis_url: str,
        clock: Clock,
        ids: Ids,
        *,
        handlers: Mapping[Verb, Handler],
        sweep: Handler,
        sweep_seconds: int = 5,
        session_seconds: float = 30.0,
        drain_seconds: float = 20.0,
        health: RedisHealth | None = None,
    ) -> None:
        self.degraded = False
        self.alive_at = clock.monotonic()
        self._redis_url = redis_url
        self._address = parse_redis_url(redis_url)
        self._health = health or RedisHealth(str(self._address))
        self._clock = clock
        self._ids = ids
        self._sweep = SingleRun("sweep", sweep, session_seconds)
        self._verbs = {
            str(verb): SingleRun(verb, run, session_seconds) for verb, run in handlers.items()
        }
        self._sweep_seconds = sweep_seconds
        self._drain_seconds = drain_seconds
        self._name = ids.random_bytes(6).hex()
        self._fallback: asyncio.Task[None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then wait for the sessions up to `drain_seconds`."""
        logging.getLogger("arq").setLevel(logging.ERROR)  # it logs three lines a wake-up
        work = asyncio.create_task(self._work())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            await self._end(work, stopped)

    def wake_up(self, verb: Verb) -> None:
        """Run a verb as if a wake-up had come."""
        self._verbs[verb].signal()

    async def _end(self, *tasks: asyncio.Task[Any]) -> None:
        sessions = (self._sweep, *self._verbs.values())
        for session in sessions:
            session.stop()
        await end(tasks)
        await end([self._fallback] if self._fallback else [])
        await asyncio.gather(*(session.join(self._drain_seconds) for session in sessions))

    async def _work(self) -> None:
        failures = 0
        while True:
            try:
                async with following(
                    self._redis_url,
                    self._clock,
                    self._verbs,
                    sweep=self._sweep,
                    sweep_seconds=self._sweep_seconds,
                    health_key=f"gateway:health:{self._name}",
                ) as follower:
                    while True:
                        await follower.turn()
                        failures = 0
                        self._found()
                        await follower.wait()
            except LOST as error:
                failures += 1
                self._lost(error)
                await back_off(self._clock, self._ids, failures)

    def _found(self) -> None:
        self.alive_at = self._clock.monotonic()
        if self._fallback:
            self._fallback.cancel()
            self._fallback, self.degraded = None, False
        self._health.found(_USER)

    def _lost(self, error: Exception) -> None:
        self._health.lost(_USER, cause_of(error, self._address))
        if self._fallback is None:
            self._fallback, self.degraded = asyncio.create_task(self._fall_back()), True

    async def _fall_back(self) -> None:
        swept_at = self._clock.monotonic()
        while True:
            self.alive_at = self._clock.monotonic()
            for session in self._verbs.values():
                session.signal()
            if self.alive_at - swept_at >= self._sweep_seconds:
                swept_at = self.alive_at
                self._sweep.signal()
            await self._clock.sleep(_FALLBACK_SECONDS)
