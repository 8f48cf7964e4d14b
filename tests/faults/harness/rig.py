"""A test rig to break: its own Postgres and Valkey, the simulator, and a receiver."""

import asyncio
import base64
import json
import os
import shutil
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from gateway.embedded import (
    Part,
    Postgres,
    Valkey,
    create_database,
    drop_database,
    free_port,
    prepare_postgres,
    prepare_valkey,
)
from gateway.embedded.part import PartFailedError, kill, spawn, stop, wait_ready
from tests.bench.harness.parts import bare_environment
from tests.faults.harness.fork_server import ForkServer, Starter, start_fork_server
from tests.faults.harness.fork_server_main import Order
from tests.servers import make_folder

TEMPLATE = "faults_template"
READY_SECONDS = 60.0
STEP_SECONDS = 0.02
HOST = "127.0.0.1"
_commands = count(1)


class Server:
    """Postgres or Valkey: killed and started again at will, on the same port and files."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = await spawn(self._part)
        await wait_ready(self._part, self._process)

    async def revive(self) -> None:
        """Start it unless it runs; as a supervisor does, try again where it ends by itself."""
        async with asyncio.timeout(READY_SECONDS):
            while self._process is None or self._process.returncode is not None:
                with suppress(PartFailedError):
                    await self.start()

    async def kill(self) -> None:
        """End all of its processes by SIGKILL."""
        assert self._process is not None
        kill(self._process)
        await self._process.wait()

    async def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            await stop(self._part, self._process)


@dataclass(slots=True)
class Rig:
    """The servers that all worlds share."""

    folder: Path
    postgres: Postgres
    valkey: Valkey
    postgres_server: Server
    valkey_server: Server
    fork_server: ForkServer
    client: httpx.AsyncClient
    callers: httpx.AsyncClient
    simulator: str = ""
    receiver: str = ""
    operator_key: str = ""
    master_key: str = field(
        default_factory=lambda: base64.b64encode(os.urandom(32)).decode(), repr=False
    )

    def env(self, database: str) -> dict[str, str]:
        """What a command needs that works on a database."""
        return bare_environment() | {
            "GATEWAY_DATABASE_URL": self.postgres.url_of(database),
            "GATEWAY_REDIS_URL": self.valkey.url,
            "GATEWAY_MASTER_KEY": self.master_key,
        }

    async def control(self, path: str, body: object) -> Any:
        """Send a control request to the simulator."""
        answer = await self.client.post(f"{self.simulator}/_control{path}", json=body)
        return answer.raise_for_status().json()

    async def observe(self, path: str) -> Any:
        """Read from the simulator's control API."""
        answer = await self.client.get(f"{self.simulator}/_control{path}")
        return answer.raise_for_status().json()

    async def received(self) -> list[dict[str, Any]]:
        """All webhooks that the receiver remembers."""
        return (await self.client.get(f"{self.receiver}/received")).raise_for_status().json()

    async def behave(self, path: str, **behaviour: object) -> None:
        """Script the receiver's next answers on a path."""
        body = {"path": path, **behaviour}
        (await self.client.post(f"{self.receiver}/behave", json=body)).raise_for_status()


@asynccontextmanager
async def start_rig(external: Postgres | None = None, /, **settings: str) -> AsyncGenerator[Rig]:
    """Servers, simulator and receiver of our own; all is ended and removed with the block.

    `external` is a Postgres that somebody else starts and stops; `settings` are those of our own one
    that differ from the usual ones.
    """
    folder = make_folder()
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for name in ("postgres", "valkey"):
            (folder / name).mkdir()
        postgres = external or await prepare_postgres(folder / "postgres")
        more = [f"--{name}={value}" for name, value in settings.items()]  # the last one counts
        part = replace(postgres.part, argv=(*postgres.part.argv, *more))
        postgres = replace(postgres, part=part)
        valkey = prepare_valkey(folder / "valkey")
        servers = Server(postgres.part), Server(valkey.part)
        for server in servers:
            stack.push_async_callback(server.stop)
        await asyncio.gather(*(server.start() for server in servers[1 if external else 0 :]))
        fork_server = await stack.enter_async_context(start_fork_server())
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=15))
        # httpx's own pool takes time that grows with the square of its connections.
        many = httpx.AsyncClient(timeout=15, transport=AiohttpTransport(client=_session))
        callers = await stack.enter_async_context(many)
        rig = Rig(folder, postgres, valkey, *servers, fork_server, client, callers)
        await asyncio.gather(_make_template(rig), _start_outside(rig))
        yield rig


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def _start_outside(rig: Rig) -> None:
    port, files = free_port(), free_port()
    rig.simulator = await _outside(rig, "simulate", port, str(port), str(files), "1")
    port = free_port()
    listening = ("receive", "--port", str(port), "--keep", "100000")
    rig.receiver = await _outside(rig, "gateway", port, *listening)


async def _outside(rig: Rig, role: str, port: int, *arguments: str) -> str:
    log = rig.folder / f"{role}.log"
    order = Order(role=role, log=str(log), arguments=list(arguments), env=bare_environment())
    child = await rig.fork_server.start(order)
    async with asyncio.timeout(READY_SECONDS):
        while True:
            assert child.alive, log.read_text()
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(STEP_SECONDS)
            else:
                writer.close()
                return f"http://{HOST}:{port}"


async def _make_template(rig: Rig) -> None:
    """A migrated database that knows one operator's key."""
    await drop_database(rig.postgres, TEMPLATE)
    rig.operator_key = await make_template(rig, TEMPLATE, rig.fork_server)


async def make_template(rig: Rig, name: str, fork_server: Starter) -> str:
    """Create and migrate a database with a fork server's code; the key of its operator."""
    await create_database(rig.postgres, name)
    env = rig.env(name)
    await run_command(rig, env, "db", "upgrade", fork_server=fork_server)
    command = ("key", "create", "--operator", "--name", "faults", "--json")
    return json.loads(await run_command(rig, env, *command, fork_server=fork_server))["accessKey"]


async def run_command(
    rig: Rig, env: dict[str, str], *arguments: str, fork_server: Starter | None = None
) -> str:
    """What a command of the gateway prints."""
    log = rig.folder / f"command-{next(_commands)}.log"
    order = Order(role="gateway", log=str(log), arguments=list(arguments), env=env)
    status = await (await (fork_server or rig.fork_server).start(order)).ended()
    assert status == 0, log.read_text()
    return log.read_text()
