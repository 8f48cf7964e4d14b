"""The worker process: a pool that runs the sessions, and a small port for health and metrics."""

import asyncio
import gc
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog
import uvloop

from gateway import log
from gateway.adapters.redis.health import RedisHealth
from gateway.adapters.wakeups.worker_loop import WorkerLoop
from gateway.config.redis_url import parse_redis_url
from gateway.errors import Unavailable
from gateway.flows.admin.master_keys import require_keys
from gateway.flows.deps import Deps, go_on
from gateway.flows.health.heartbeat import beating
from gateway.flows.maintain.sweep import sweep
from gateway.flows.warm_up import warm_up
from gateway.flows.work_loops import WorkLoops
from gateway.host.descriptors import raise_limit
from gateway.host.watchdog import watch_loop
from gateway.runtime import host_clock, identity_of, open_deps, tell_strange_settings
from gateway.settings import Settings
from gateway.worker_port import serve_port

_log = structlog.get_logger("gateway.worker")
# A handler that never gives the loop back would hold up all others: the process ends instead.
_STUCK_SECONDS = 30
_SWEEP_SECONDS = 5


def run(settings: Settings, crash_point: Callable[[str], None] = go_on) -> None:
    """Work until SIGTERM or SIGINT, then finish what is under way.

    `reached` is called at every crash point.
    """
    log.configure(settings.log_level, settings.log_format)
    tell_strange_settings()
    raise_limit()
    uvloop.run(_work(settings, crash_point))


async def _work(settings: Settings, crash_point: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log.report_failure)
    _on_signal(stop.set)
    health = RedisHealth(str(parse_redis_url(settings.redis_url.get_secret_value())))
    async with open_deps(settings, "gateway worker", crash_point, health) as deps:
        await require_keys(deps)

        def end() -> None:
            deps.slots.closing = True  # nothing more is claimed
            stop.set()

        _on_signal(end)
        sessions = WorkLoops(deps)
        pool = WorkerLoop(
            settings.redis_url.get_secret_value(),
            host_clock(),
            deps.ids,
            handlers={
                "submit": sessions.submit,
                "poll": sessions.poll,
                "deliver": sessions.deliver,
                "bulk": sessions.bulk,
            },
            sweep=lambda: sweep(deps),
            sweep_seconds=_SWEEP_SECONDS,
            drain_seconds=settings.drain_seconds,
            health=health,
        )
        deps.slots.on_room(pool.wake_up)
        deps.queue.on_wake(pool.wake_up)
        watch_loop(loop, _STUCK_SECONDS)
        # What Redis remembers of the database is asked before the first row is claimed.
        deps.restore_detector.learn(await deps.queue.mirrored())
        with suppress(Unavailable):  # a worker starts without its database, too
            await warm_up(deps)
        if settings.worker_port:
            serve_port(deps, settings.host, settings.worker_port, partial(_silent_for, deps, pool))
        # Garbage collection then skips what start-up made: a full pass over it stops all work for 40 ms.
        gc.collect()
        gc.freeze()
        async with beating(deps, identity_of("worker", deps.ids)):
            _log.info("worker started")
            await pool.run(stop)
            late = await deps.slots.drain(settings.drain_seconds)
        _log.info("worker stopped", cut_off=late)


def _on_signal(end: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)


def _silent_for(deps: Deps, pool: WorkerLoop) -> float:
    return deps.clock.monotonic() - pool.alive_at
