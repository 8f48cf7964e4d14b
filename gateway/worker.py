"""The worker process: runs the handlers of all verbs, and serves a port for health and metrics.

It ends on SIGTERM or SIGINT after its work, at most `drain_seconds` later. If it crashes, other
workers take over its rows when their leases expire.
"""

import asyncio
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
from gateway.flows.deps import Deps, no_crash
from gateway.flows.health.heartbeat import beating
from gateway.flows.maintain.sweep import sweep
from gateway.flows.warm_up import warm_up
from gateway.flows.work_loops import WorkLoops
from gateway.host import garbage_collection
from gateway.host.descriptors import raise_limit
from gateway.host.watchdog import watch_loop
from gateway.runtime import host_clock, identity_of, open_deps, warn_of_unknown_settings
from gateway.settings import Settings
from gateway.worker_port import serve_port

_log = structlog.get_logger("gateway.worker")
# A handler that blocks the event loop would stop all others: the process ends instead.
_STUCK_SECONDS = 30
_SWEEP_SECONDS = 5


def run(settings: Settings, crash_point: Callable[[str], None] = no_crash) -> None:
    """Work until SIGTERM or SIGINT, then finish the work under way.

    `crash_point` is called at every crash point.
    """
    log.configure(settings.log_level, settings.log_format)
    warn_of_unknown_settings()
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
        loops = WorkLoops(deps)
        worker = WorkerLoop(
            settings.redis_url.get_secret_value(),
            host_clock(),
            deps.ids,
            handlers={
                "submit": loops.submit,
                "poll": loops.poll,
                "deliver": loops.deliver,
                "bulk": loops.bulk,
            },
            sweep=lambda: sweep(deps),
            sweep_seconds=_SWEEP_SECONDS,
            drain_seconds=settings.drain_seconds,
            health=health,
        )
        deps.slots.on_room(worker.wake_up)
        deps.queue.on_wake(worker.wake_up)
        watch_loop(loop, _STUCK_SECONDS)
        # The restore detector needs the mirrored number before the first row is claimed.
        deps.restore_detector.learn(await deps.queue.mirrored())
        with suppress(Unavailable):  # a worker starts without its database, too
            await warm_up(deps)
        if settings.worker_port:
            idle = partial(_seconds_since_turn, deps, worker)
            serve_port(deps, settings.host, settings.worker_port, idle)
        garbage_collection.relax()
        async with beating(deps, identity_of("worker", deps.ids)):
            _log.info("worker started")
            late = await deps.slots.drain(await worker.run(stop))
        _log.info("worker stopped", cut_off=late)


def _on_signal(end: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)


def _seconds_since_turn(deps: Deps, worker: WorkerLoop) -> float:
    return deps.clock.monotonic() - worker.alive_at
