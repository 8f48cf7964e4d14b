"""Heartbeats: each process tells all others, through Postgres, that it lives and what it does.

With the answer it sets its clock by that of Postgres, and learns how far the feed is held up.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from gateway.errors import GatewayError
from gateway.flows.deps import Deps
from gateway.store import processes
from gateway.store.processes import Beat, Identity

EVERY_SECONDS = 5.0
# While Postgres is away, so that the clock is right soon after it is back.
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
        """One heartbeat; whether Postgres took it. Never raises."""
        vitals = self._deps.vitals
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                await self._beat()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one is tried
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
        """Tell the others that this process ends as it should, if Postgres can be told."""
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS), self._deps.db.single() as tx:
                await processes.stop(tx, self._who.id)

    async def _beat(self) -> None:
        deps = self._deps
        async with deps.db.single() as tx:
            before, at = deps.clock.now(), deps.clock.monotonic()
            told = await processes.beat(tx, self._who, self._tell(at))
            after = deps.clock.now()
        self._set_clock(told.at - after, told.at - before)
        deps.vitals.feed_lag = deps.vitals.lag.note(at, told.horizon, told.xact)

    def _tell(self, now: float) -> Beat:
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
        """Postgres's clock is ahead by between these two; set ours by no more than is certain."""
        clock, was = self._deps.clock, self._deps.clock.offset
        step = max(least, timedelta()) + min(most, timedelta())
        if not step:
            return
        clock.set_offset(was + step)
        if abs(was + step) > _NOTABLE >= abs(was):
            _log.warning(
                "the clock of this host is wrong: the gateway goes by Postgres's",
                seconds_ahead=round(-clock.offset.total_seconds(), 3),
            )


@asynccontextmanager
async def beating(deps: Deps, who: Identity) -> AsyncGenerator[None]:
    """Heartbeats while the block runs; the first one has been tried when it begins."""
    heart = Heart(deps, who)
    await heart.beat()
    task = asyncio.create_task(heart.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await heart.stop()
