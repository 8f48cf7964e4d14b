"""Calls the handlers when wake-ups fall due: through arq, and once a second while Redis is away.

It runs for the life of a worker process. Redis errors never end it: it reconnects with back-off. At
the end it starts no more runs and waits for those under way. A crash loses nothing, because the
handlers keep their state in Postgres.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.adapters.redis.client import LOST
from gateway.adapters.redis.failure_causes import cause_of
from gateway.adapters.redis.health import RedisHealth
from gateway.adapters.wakeups.arq_worker import open_arq_worker
from gateway.adapters.wakeups.redis_commands import back_off, cancel_all
from gateway.adapters.wakeups.single_run import SingleRun
from gateway.config.redis_url import parse_redis_url
from gateway.ports import Clock, Ids, Verb

Handler = Callable[[], Awaitable[None]]

_FALLBACK_SECONDS = 1.0
_USER = "work"  # its name in RedisHealth


class WorkerLoop:
    """The handlers of all verbs and the sweep.

    `degraded` is true while Redis is away. `alive_at` is the monotonic time of the last turn.
    """

    def __init__(
        self,
        redis_url: str,
        clock: Clock,
        ids: Ids,
        *,
        handlers: Mapping[Verb, Handler],
        sweep: Handler,
        sweep_seconds: int = 5,
        run_seconds: float = 30.0,
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
        self._sweep = SingleRun("sweep", sweep, run_seconds)
        self._verbs = {
            str(verb): SingleRun(verb, run, run_seconds) for verb, run in handlers.items()
        }
        self._sweep_seconds = sweep_seconds
        self._drain_seconds = drain_seconds
        self._name = ids.random_bytes(6).hex()
        self._fallback: asyncio.Task[None] | None = None

    async def run(self, stop: asyncio.Event) -> float:
        """Work until `stop` is set, then wait up to `drain_seconds` for the runs under way.

        Returns how many of these seconds are left for other work.
        """
        logging.getLogger("arq").setLevel(logging.ERROR)  # it logs three lines per wake-up
        work = asyncio.create_task(self._work())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            stopped_at = self._clock.monotonic()
            await self._end(work, stopped)
        return max(0.0, self._drain_seconds - (self._clock.monotonic() - stopped_at))

    def wake_up(self, verb: Verb) -> None:
        """Run the handler of a verb as a local wake-up."""
        self._verbs[verb].signal()

    async def _end(self, *tasks: asyncio.Task[Any]) -> None:
        runs = (self._sweep, *self._verbs.values())
        for run in runs:
            run.stop()
        await cancel_all(tasks)
        await cancel_all([self._fallback] if self._fallback else [])
        await asyncio.gather(*(run.join(self._drain_seconds) for run in runs))

    async def _work(self) -> None:
        failures = 0
        while True:
            try:
                async with open_arq_worker(
                    self._redis_url,
                    self._clock,
                    self._verbs,
                    sweep=self._sweep,
                    sweep_seconds=self._sweep_seconds,
                    health_key=f"gateway:health:{self._name}",
                ) as worker:
                    while True:
                        await worker.start_due()
                        failures = 0
                        self._on_turn()
                        await worker.wait_until_due()
            except LOST as error:
                failures += 1
                self._on_lost(error)
                await back_off(self._clock, self._ids, failures)

    def _on_turn(self) -> None:
        self.alive_at = self._clock.monotonic()
        if self._fallback:
            self._fallback.cancel()
            self._fallback, self.degraded = None, False
        self._health.found(_USER)

    def _on_lost(self, error: Exception) -> None:
        self._health.lost(_USER, cause_of(error, self._address))
        if self._fallback is None:
            self._fallback, self.degraded = asyncio.create_task(self._fall_back()), True

    async def _fall_back(self) -> None:
        """Signal every handler once a second, and the sweep at its own interval."""
        swept_at = self._clock.monotonic()
        while True:
            self.alive_at = self._clock.monotonic()
            for run in self._verbs.values():
                run.signal()
            if self.alive_at - swept_at >= self._sweep_seconds:
                swept_at = self.alive_at
                self._sweep.signal()
            await self._clock.sleep(_FALLBACK_SECONDS)
