"""Exports over HTTP/1.0, which end with the connection: a reset marks a truncated one."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from gateway.flows.process.slots import Slots
from tests.web.conftest import World
from tests.web.live import live
from tests.web.routes.jobs.test_export import fill
from tests.web.test_server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SECONDS = 60
_BROKEN = ("1.0", "1.1")


@dataclass
class Export:
    """A connection that requested an export, and what it has read of it."""

    connection: socket.socket
    content: bytearray = field(default_factory=bytearray)

    async def read(self, size: int = 65_536) -> int:
        async with asyncio.timeout(_SECONDS):
            part = await asyncio.get_running_loop().sock_recv(self.connection, size)
        self.content += part
        return len(part)

    async def rest(self) -> bool:
        """Read to the end; whether it is a proper one."""
        try:
            while await self.read():
                pass
        except ConnectionResetError:
            return False
        head, _, body = bytes(self.content).partition(b"\r\n\r\n")
        return b"chunked" not in head or body.endswith(b"0\r\n\r\n")

    @property
    def lines(self) -> list[bytes]:
        return bytes(self.content).partition(b"\r\n\r\n")[2].splitlines()


@asynccontextmanager
async def exporting(port: int, key: str, version: str) -> AsyncGenerator[Export]:
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", port))
        lines = (f"GET /v1/job?format=ndjson HTTP/{version}", "Host: x", f"Authorization: {key}")
        await loop.sock_sendall(connection, "\r\n".join([*lines, "", ""]).encode())
        yield Export(connection)


async def test_a_complete_export_ends_normally_even_for_a_slow_reader(
    world: World, acme: str
) -> None:
    count = await fill(world, acme)
    async with live(world.deps) as port, exporting(port, world.keys[acme], "1.0") as export:
        await export.read()
        await asyncio.sleep(1)

        assert await export.rest()

    assert len(export.lines) == count
    assert json.loads(export.lines[-1])["name"] == "n"


@pytest.mark.parametrize("version", _BROKEN)
async def test_an_export_cut_off_by_a_stopping_process_is_reset(
    world: World, acme: str, version: str
) -> None:
    count, slots = await fill(world, acme), Slots(world.deps.clock)
    deps = replace(world.deps, slots=slots)
    async with live(deps) as port, exporting(port, world.keys[acme], version) as export:
        await export.read()
        slots.closing = True

        assert not await export.rest()

    assert len(export.lines) < count


@pytest.mark.parametrize("version", _BROKEN)
async def test_an_export_of_a_killed_process_is_reset(
    world: World, acme: str, database_url: str, version: str
) -> None:
    await fill(world, acme)
    async with serving(database_url) as api:
        port = api.client.base_url.port or 0
        async with exporting(port, world.keys[acme], version) as export:
            await export.read()
            api.process.send_signal(signal.SIGKILL)

            assert not await export.rest()


async def test_an_export_asked_for_while_the_process_stops_is_refused(
    world: World, acme: str
) -> None:
    slots = Slots(world.deps.clock)
    slots.closing = True
    deps = replace(world.deps, slots=slots)
    async with live(deps) as port, exporting(port, world.keys[acme], "1.1") as export:
        while b"}" not in export.content:
            await export.read()

    head, _, body = bytes(export.content).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in head.lower()
    assert json.loads(body)["code"] == "UNAVAILABLE"
