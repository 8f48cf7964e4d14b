"""The application on the real server in this process, with real sockets."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from granian.constants import Interfaces
from granian.server.embed import Server

from gateway.embedded import free_port
from gateway.flows.deps import Deps
from gateway.web.app import create_app
from gateway.web.capacity.limits import HttpLimits

_SECONDS = 30


@asynccontextmanager
async def live(deps: Deps, limits: HttpLimits | None = None) -> AsyncGenerator[int]:
    """The port that it listens on within the block."""
    port = free_port()
    server = Server(
        create_app(deps, limits),
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    await until(lambda: _listens(port))
    try:
        yield port
    finally:
        server.stop()
        await serving


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds; fails after half a minute."""
    async with asyncio.timeout(_SECONDS):
        while not await holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
