"""`gateway serve`: one API process: granian on uvloop, which drains when it is told to stop."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress

import structlog
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from gateway import log
from gateway.flows.admin.master_keys import require_keys
from gateway.flows.deps import Deps, no_crash
from gateway.flows.health.heartbeat import beating
from gateway.flows.process.read_replica import watching
from gateway.host import garbage_collection
from gateway.host.descriptors import raise_limit
from gateway.host.listening import ListenAddress, claimed
from gateway.runtime import identity_of, open_deps, warn_of_unknown_settings
from gateway.settings import Settings
from gateway.web.app import Face, create_app, create_metrics_app
from gateway.web.capacity.limits import HttpLimits
from gateway.web.front_door import FrontDoor

_CONNECTIONS = 4096
# Long polls count too. They cost little: the number of open files is what limits them.
_MAX_REQUESTS = 50_000
# The limit of a request head, and of the part of a body that is buffered before a handler reads it.
_HEAD_BYTES = 64 * 1024
_STEP_SECONDS = 0.02
_FLUSH_SECONDS = 1.0
_log = structlog.get_logger("gateway.web")


def run(
    settings: Settings,
    crash_point: Callable[[str], None] = no_crash,
    faces: Sequence[Face] = (),
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way.

    `crash_point` is called with the name of each crash point; `faces` are served beside the API.
    """
    log.configure(settings.log_level, settings.log_format)
    warn_of_unknown_settings()
    raise_limit()
    uvloop.run(_serve(settings, crash_point, faces))


async def _serve(
    settings: Settings, crash_point: Callable[[str], None], faces: Sequence[Face]
) -> None:
    stop = _Stop()
    asyncio.get_running_loop().set_exception_handler(log.report_failure)
    async with AsyncExitStack() as stack:
        deps = await stack.enter_async_context(open_deps(settings, "gateway serve", crash_point))
        await require_keys(deps)
        await stack.enter_async_context(beating(deps, identity_of("api", deps.ids)))
        await stack.enter_async_context(watching(deps.replica))
        address = stack.enter_context(
            claimed(settings.host, settings.port, shared=settings.share_port)
        )
        app = create_app(
            deps, HttpLimits.of(settings), metrics=not settings.metrics_port, faces=faces
        )
        garbage_collection.relax()
        server = _server(app, settings, address)
        serving = asyncio.create_task(server.serve())
        if settings.metrics_port:
            host = settings.metrics_host or settings.host
            metrics_address = stack.enter_context(claimed(host, settings.metrics_port))
            metrics = _server(create_metrics_app(app), settings, metrics_address)
            stack.callback(asyncio.create_task(metrics.serve()).cancel)
        stopping = asyncio.create_task(stop.asked.wait())
        _log.info("api started", host=address.address, port=address.port)
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        deps.slots.draining = True
        await stop.wait_or_skip(settings.drain_delay_seconds)
        await _drain(deps, app, server, settings.drain_seconds)
        # The server itself would wait forever for a client that does not read its response.
        ended, _ = await asyncio.wait((serving,), timeout=_FLUSH_SECONDS)
        for task in ended:
            task.result()


class _Stop:
    """Signals to stop: SIGTERM and SIGINT set `asked`; SIGINT and any second signal skip delays."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._skip = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)

    async def wait_or_skip(self, seconds: float) -> None:
        """Wait so many seconds, or until a signal skips the delay."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._skip.wait()

    def _on_signal(self, number: signal.Signals) -> None:
        if self.asked.is_set() or number == signal.SIGINT:
            self._skip.set()
        self.asked.set()


def _server(app: FrontDoor, settings: Settings, address: ListenAddress) -> Server:
    return Server(
        app,
        address=address.address,
        port=address.port,
        interface=Interfaces.ASGINL,
        # Detecting HTTP/2 takes more than half of the memory of a waiting connection.
        http=HTTPModes.http1,
        # hyper uses its time limit for a request head as the keep-alive time of idle connections too.
        http1_settings=HTTP1Settings(
            header_read_timeout=int(settings.keep_alive_seconds * 1000), max_buffer_size=_HEAD_BYTES
        ),
        websockets=False,
        backlog=_CONNECTIONS,
        backpressure=_MAX_REQUESTS,
        log_enabled=False,
    )


async def _drain(deps: Deps, app: FrontDoor, server: Server, seconds: float) -> None:
    """Close the listening socket, answer long polls at once, and let other requests finish."""
    end = deps.clock.monotonic() + seconds
    deps.slots.closing = True
    server.stop()
    while app.in_flight and deps.clock.monotonic() < end:
        await deps.clock.sleep(_STEP_SECONDS)
    _log.info("api stopped", cut_off=app.in_flight)
