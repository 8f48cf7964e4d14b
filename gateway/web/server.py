"""`gateway serve`: one process on granian, inside an event loop that is ours."""

import asyncio
import gc
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import structlog
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from gateway import log
from gateway.descriptors import raise_limit
from gateway.flows.deps import Deps, go_on
from gateway.flows.heartbeat import beating
from gateway.runtime import identity_of, open_deps
from gateway.settings import Settings
from gateway.web.app import create_app
from gateway.web.front import Front

_CONNECTIONS = 4096
# Requests that wait included, which cost little: what limits them is how many files may be open.
_MOST_AT_ONCE = 50_000
_NOTICE_SHARE = 0.05
_STEP_SECONDS = 0.02
_FLUSH_SECONDS = 1.0
_log = structlog.get_logger("gateway.web")


def run(settings: Settings, reached: Callable[[str], None] = go_on) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way.

    `reached` is called at every crash point.
    """
    log.configure(settings.log_level, settings.log_format)
    raise_limit()
    uvloop.run(_serve(settings, reached))


async def _serve(settings: Settings, reached: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(log.report_failure)
    async with open_deps(settings, "gateway serve", reached) as deps, _beating(deps):
        app = create_app(deps, max_body_bytes=settings.max_body_bytes)
        # What is there now stays, so it is not looked through for garbage again and again.
        gc.collect()
        gc.freeze()
        server = Server(
            app,
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGINL,
            # To tell HTTP/2 apart takes more than half of the memory of one who waits.
            http=HTTPModes.http1,
            websockets=False,
            backlog=_CONNECTIONS,
            backpressure=_MOST_AT_ONCE,
            log_enabled=False,
        )
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stop.wait())
        _log.info("api started", host=settings.host, port=settings.port)
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await _drain(deps, app, server, settings.drain_seconds)
        # The server itself would wait for ever for one who does not read its answer.
        ended, _ = await asyncio.wait((serving,), timeout=_FLUSH_SECONDS)
        for task in ended:
            task.result()


def _beating(deps: Deps) -> AbstractAsyncContextManager[None]:
    return beating(deps, identity_of("api", deps.ids))


async def _drain(deps: Deps, app: Front, server: Server, seconds: float) -> None:
    """Not ready any more, then deaf, then done: the balancer hears of it before callers do."""
    end = deps.clock.monotonic() + seconds
    deps.slots.closing = True
    await deps.clock.sleep(seconds * _NOTICE_SHARE)
    server.stop()
    while app.in_flight and deps.clock.monotonic() < end:
        await deps.clock.sleep(_STEP_SECONDS)
    _log.info("api stopped", cut_off=app.in_flight)
