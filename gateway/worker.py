"""The worker process: a pool that runs the sessions, and a small port for health and metrics."""

import asyncio
import gc
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import structlog
import uvloop
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from typing_extensions import override

from gateway import log, metrics
from gateway.adapters.pool import Pool
from gateway.descriptors import raise_limit
from gateway.errors import Unavailable
from gateway.flows.deps import go_on
from gateway.flows.heartbeat import beating
from gateway.flows.session import Sessions
from gateway.flows.sweep import sweep
from gateway.runtime import host_clock, identity_of, open_deps
from gateway.settings import Settings
from gateway.watchdog import watch_loop

_log = structlog.get_logger("gateway.worker")
_ALIVE_SECONDS = 30.0
# A handler that never gives the loop back would hold up all others: the process ends instead.
_STUCK_SECONDS = 30
_SWEEP_SECONDS = 5

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]


def run(settings: Settings, reached: Callable[[str], None] = go_on) -> None:
    """Work until SIGTERM or SIGINT, then finish what is under way.

    `reached` is called at every crash point.
    """
    log.configure(settings.log_level, settings.log_format)
    raise_limit()
    uvloop.run(_work(settings, reached))


async def _work(settings: Settings, reached: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log.report_failure)
    async with open_deps(settings, "gateway worker", reached) as deps:

        def end() -> None:
            deps.slots.closing = True  # nothing more is claimed
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        sessions = Sessions(deps)
        pool = Pool(
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
        )
        deps.slots.on_room(pool.nudge)
        deps.queue.on_wake(pool.nudge)
        watch_loop(loop, _STUCK_SECONDS)
        # What Redis remembers of the database is asked before the first row is claimed.
        deps.beacon.learn(await deps.queue.mirrored())
        with suppress(Unavailable):  # a worker starts without its database, too
            await deps.db.open_ahead(settings.database_pool // 2)
        if settings.worker_port:
            _serve_health(settings, lambda: deps.clock.monotonic() - pool.alive_at)
        # Garbage collection then skips what start-up made: a full pass over it stops all work for 40 ms.
        gc.collect()
        gc.freeze()
        async with beating(deps, identity_of("worker", deps.ids)):
            _log.info("worker started")
            await pool.run(stop)
            late = await deps.slots.drain(settings.drain_seconds)
        _log.info("worker stopped", cut_off=late)


def _serve_health(settings: Settings, silent_for: Callable[[], float]) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
            return [generate_latest(metrics.REGISTRY)]
        alive = silent_for() < _ALIVE_SECONDS
        start_response("200 OK" if alive else "503 Service Unavailable", [])
        return [b'{"status":"ok"}' if alive else b'{"status":"silent"}']

    server = make_server(settings.host, settings.worker_port, app, handler_class=_QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


class _QuietHandler(WSGIRequestHandler):
    @override
    def log_message(self, format: str, *args: object) -> None:
        """Health checks are not worth a line."""
