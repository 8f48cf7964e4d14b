"""`gateway serve`: one API process: granian on uvloop, which drains when it is told to stop."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import NamedTuple

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
from gateway.web.app import Face, create_app, create_metrics_app, create_pages_app
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

    `crash_point` is called with the name of each crash point; `faces` are served beside the API, on its port or their own.
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
        doors = _doors(stack, deps, settings, faces)
        garbage_collection.relax()
        serving = [asyncio.create_task(door.server.serve()) for door in doors]
        if settings.metrics_port:
            host = settings.metrics_host or settings.host
            metrics = create_metrics_app(doors[0].app)
            beside = _open(stack, metrics, settings, host, settings.metrics_port)
            stack.callback(asyncio.create_task(beside.server.serve()).cancel)
        stopping = asyncio.create_task(stop.asked.wait())
        _log.info("api started", host=doors[0].address.address, port=doors[0].address.port)
        await asyncio.wait((*serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        deps.slots.draining = True
        await stop.wait_or_skip(settings.drain_delay_seconds)
        await _drain(deps, doors, settings.drain_seconds)
        # The server itself would wait forever for a client that does not read its response.
        ended, _ = await asyncio.wait(serving, timeout=_FLUSH_SECONDS)
        for task in ended:
            task.result()


class _Door(NamedTuple):
    """An application, and the server of its port."""

    app: FrontDoor
    server: Server
    address: ListenAddress


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


def _doors(
    stack: AsyncExitStack, deps: Deps, settings: Settings, faces: Sequence[Face]
) -> list[_Door]:
    """The API, and the pages where they have a port of their own."""
    app = create_app(
        deps,
        HttpLimits.of(settings),
        metrics=not settings.metrics_port,
        faces=() if settings.console_port else faces,
    )
    doors = [_open(stack, app, settings, settings.host, settings.port, shared=settings.share_port)]
    if settings.console_port:
        host = settings.console_host or settings.host
        pages = create_pages_app(app, faces)
        doors.append(_open(stack, pages, settings, host, settings.console_port))
    return doors


def _open(
    stack: AsyncExitStack,
    app: FrontDoor,
    settings: Settings,
    host: str,
    port: int,
    *,
    shared: bool = False,
) -> _Door:
    """Reserve a port until the stack is closed, for a server that starts later."""
    address = stack.enter_context(claimed(host, port, shared=shared))
    return _Door(app, _server(app, settings, address), address)


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


async def _drain(deps: Deps, doors: Sequence[_Door], seconds: float) -> None:
    """Close the listening sockets, answer long polls at once, and let other requests finish."""
    end = deps.clock.monotonic() + seconds
    deps.slots.closing = True
    for door in doors:
        door.server.stop()
    while (left := sum(door.app.in_flight for door in doors)) and deps.clock.monotonic() < end:
        await deps.clock.sleep(_STEP_SECONDS)
    _log.info("api stopped", cut_off=left)
