"""Heartbeats: each process writes every five seconds that it lives and what it did last.

With the answer it sets its clock by that of Postgres, and measures the lag of the event feed.
A heartbeat that fails is tried again a second later and stops nothing else. A crash leaves the last
heartbeat; others call the process stale once it is too old.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from gateway.errors import GatewayError
from gateway.flows.deps import Deps
from gateway.flows.process.throughput import Throughput
from gateway.store import processes, throughput
from gateway.store.database import Tx
from gateway.store.processes import Beat, Identity

EVERY_SECONDS = 5.0
# While Postgres cannot be reached, so that the clock is right soon after it is back.
_AGAIN_SECONDS = 1.0
_LONGEST_SECONDS = 4.0
_STOP_SECONDS = 1.0
_NOTABLE = timedelta(seconds=1)

_log = structlog.get_logger(__name__)


class Heart:
    """The heartbeats of one process."""

    def __init__(self, deps: Deps, who: Identity) -> None:
        self._deps = deps
        self._who = who
        self._born = deps.clock.monotonic()

    async def beat(self) -> bool:
        """Send one heartbeat; returns whether Postgres took it. Never raises."""
        vitals = self._deps.vitals
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                await self._beat()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next heartbeat is sent
            vitals.trouble = error.detail if isinstance(error, GatewayError) else str(error)
            vitals.trouble = vitals.trouble or type(error).__name__
            return False
        vitals.trouble = ""
        return True

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            was_heard = await self.beat()
            await self._deps.clock.sleep(EVERY_SECONDS if was_heard else _AGAIN_SECONDS)

    async def stop(self) -> None:
        """Write that this process ends as intended, if Postgres can be reached."""
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS), self._deps.db.single() as tx:
                await processes.stop(tx, self._who.id)
                await self._write_throughput(tx)

    async def _beat(self) -> None:
        deps = self._deps
        async with deps.db.single() as tx:
            before, at = deps.clock.now(), deps.clock.monotonic()
            answer = await processes.beat(tx, self._who, self._report(at))
            after = deps.clock.now()
            await self._write_throughput(tx)
        self._set_clock(answer.at - after, answer.at - before)
        deps.vitals.feed_lag = deps.vitals.lag.note(at, answer.horizon, answer.xact)

    async def _write_throughput(self, tx: Tx) -> None:
        vitals = self._deps.vitals
        done, vitals.throughput = vitals.throughput, Throughput()
        try:
            await throughput.add(tx, self._who.id, done.counts, done.durations)
        except BaseException:
            vitals.throughput.add(done)
            raise

    def _report(self, now: float) -> Beat:
        deps = self._deps
        did = deps.vitals.did
        return Beat(
            up_for=now - self._born,
            did=did,
            did_ago=None if did is None else now - deps.vitals.did_at,
            clock_ahead=-deps.clock.offset.total_seconds(),
            redis=deps.queue.connected,
        )

    def _set_clock(self, least: timedelta, most: timedelta) -> None:
        """Set our clock by what is certain: that of Postgres is ahead by between `least` and `most`."""
        clock, was = self._deps.clock, self._deps.clock.offset
        step = max(least, timedelta()) + min(most, timedelta())
        if not step:
            return
        clock.set_offset(was + step)
        if abs(was + step) > _NOTABLE >= abs(was):
            _log.warning(
                "the clock of this host is wrong: the gateway uses that of Postgres",
                seconds_ahead=round(-clock.offset.total_seconds(), 3),
            )


@asynccontextmanager
async def beating(deps: Deps, who: Identity) -> AsyncGenerator[None]:
    """Send heartbeats while the block runs; the first one is sent before it begins."""
    heart = Heart(deps, who)
    await heart.beat()
    task = asyncio.create_task(heart.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await heart.stop()
