"""The parts that a run starts, and what each has used of the CPU."""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import psutil
from alembic import command
from alembic.config import Config

from gateway.embedded import (
    Part,
    Postgres,
    Valkey,
    create_database,
    free_port,
    start_postgres,
    start_valkey,
)
from gateway.embedded.part import running
from tests.bench.harness.load import Load, Outcome
from tests.partitioned import partition_jobs

ROOT = Path(__file__).parents[3]
_TEMPLATE = "bench_template"
# In the environment: how many partitions the jobs are in; unset: one table.
_PARTITIONS = "BENCH_PARTITIONS"
_LOOK_AGAIN_SECONDS = 0.1
# How the upstream lists jobs, as far as is known: newest first, in pages of 100.
LISTS = {"listOrder": "desc", "maxPageSize": 100}
_FOREIGN = ("GATEWAY_", "COVERAGE_", "COV_")


@dataclass(frozen=True, slots=True)
class Servers:
    """Postgres with an empty, migrated template; Valkey; and the folder that all parts share."""

    folder: Path
    postgres: Postgres
    valkey: Valkey

    async def database(self, name: str, *, migrated: bool) -> str:
        """Make a database and answer its address."""
        await create_database(self.postgres, name, _TEMPLATE if migrated else "template1")
        return self.postgres.url_of(name)

    async def transactions(self, name: str) -> int:
        """The transactions of a database by all connections that have been closed since."""
        asked = f"SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{name}'"
        return int(await self.postgres.sql(asked))


def bare_environment() -> dict[str, str]:
    """Our own environment without what is meant for another gateway or would slow ours down."""
    return {name: text for name, text in os.environ.items() if not name.startswith(_FOREIGN)} | {
        "PYTHONPATH": str(ROOT)
    }


@asynccontextmanager
async def start_servers(folder: Path) -> AsyncGenerator[Servers]:
    """Postgres and Valkey with their data in the folder, for the time of the block."""
    async with (
        start_postgres(folder / "postgres") as postgres,
        start_valkey(folder / "valkey") as valkey,
    ):
        servers = Servers(folder, postgres, valkey)
        template = await servers.database(_TEMPLATE, migrated=False)
        await asyncio.to_thread(_migrate, template)
        if count := os.environ.get(_PARTITIONS):
            await partition_jobs(template, int(count))
        yield servers


def _migrate(url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")


@dataclass(frozen=True, slots=True)
class Running:
    """A part over HTTP: its process and its root."""

    pid: int
    url: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 80


@asynccontextmanager
async def start(
    folder: Path, name: str, *argv: str, port: int, env: Mapping[str, str] | None = None
) -> AsyncGenerator[Running]:
    """A Python module as a process, once it listens on the port; ended with the block."""
    place = folder / name
    place.mkdir(exist_ok=True)
    part = Part(
        name=name,
        argv=(sys.executable, "-m", *argv),
        folder=place,
        log=place / "log",
        env={**bare_environment(), **(env or {})},
        is_ready=lambda _: _listens(port),
    )
    async with running(part) as process:
        yield Running(process.pid, f"http://127.0.0.1:{port}")


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@dataclass(frozen=True, slots=True)
class Outside:
    """The simulated upstream and the receiver of webhooks."""

    simulator: Running
    receiver: Running
    client: httpx.AsyncClient

    async def ask(self, path: str) -> Any:
        """What the simulator's control answers."""
        return await self._get(f"{self.simulator.url}/_control{path}")

    async def tell(self, settings: Mapping[str, Any]) -> None:
        """Change how the simulator behaves for all."""
        url = f"{self.simulator.url}/_control"
        (await self.client.post(url, json={"defaults": settings})).raise_for_status()

    async def calls(self) -> int:
        """How many calls of its API the simulator has had."""
        return sum((await self.ask("/stats"))["totals"].values())

    async def submitted(self) -> dict[str, float]:
        """When each job came to the simulator, by the gateway's id."""
        made = await self.ask("/jobs?limit=1000000")
        return {job["marker"]: job["queuedAt"] for job in made}

    async def completed(self) -> dict[str, float]:
        """When each job ended at the simulator, by the gateway's id."""
        found: dict[str, float] = {}
        after = 0
        while True:
            answer = await self.ask(f"/completions?after={after}")
            if not answer["completions"]:
                return found
            found.update(answer["completions"])
            after = answer["next"]

    async def arrivals(self) -> dict[str, float]:
        """When the first webhook of each job came."""
        return (await self._get(f"{self.receiver.url}/arrivals"))["instants"]

    async def ports(self) -> list[int]:
        """At which further ports the receiver listens."""
        return await self._get(f"{self.receiver.url}/ports")

    async def _get(self, url: str) -> Any:
        return (await self.client.get(url)).raise_for_status().json()

    async def heard(self) -> int:
        """Of how many jobs the receiver has heard."""
        return await self._get(f"{self.receiver.url}/count")

    async def heard_of(self, jobs: int, seconds: float) -> None:
        """Wait until the receiver has heard of so many jobs, at most so long."""
        for _ in range(round(seconds / _LOOK_AGAIN_SECONDS)):
            if await self.heard() >= jobs:
                return
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)


@asynccontextmanager
async def start_outside(folder: Path) -> AsyncGenerator[Outside]:
    """A simulator and a receiver that know of nothing yet."""
    async with AsyncExitStack() as stack:
        port, files = free_port(), str(free_port())
        ports = ("--port", str(port), "--files-port", files, "--seed", "1")
        simulator = start(folder, "simulator", "gateway.simulator", *ports, port=port)
        port = free_port()
        receiver = start(folder, "receiver", "tests.bench.harness.receiver", str(port), port=port)
        yield Outside(
            await stack.enter_async_context(simulator),
            await stack.enter_async_context(receiver),
            await stack.enter_async_context(httpx.AsyncClient(timeout=30)),
        )


async def send(load: Load) -> Outcome:
    """Run a load in a process of its own; raises RuntimeError when it fails."""
    with tempfile.TemporaryFile() as answer:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.harness.load"),
            stdin=asyncio.subprocess.PIPE,
            stdout=answer,
            env=bare_environment(),
            start_new_session=True,
        )
        try:
            await process.communicate(msgspec.json.encode(load))
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        answer.seek(0)
        text = answer.read()
    if process.returncode or not text:
        raise RuntimeError(
            f"the load generator ended with status {process.returncode} and {len(text)} bytes"
        )
    outcome = msgspec.json.decode(text, type=Outcome)
    if outcome.refused:
        raise RuntimeError(f"{load.path} refused requests: {outcome.refused}")
    return outcome


def cpu_seconds(pid: int) -> float:
    """What a process and all that it started has used; also what has ended of those by now."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


class Meter:
    """The CPU that parts use from now on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._before = {name: cpu_seconds(pid) for name, pid in pids.items()}

    def milliseconds(self, units: float = 1.0) -> dict[str, float]:
        """Since the start, for each unit of work."""
        return {
            name: round((cpu_seconds(pid) - self._before[name]) * 1000 / units, 3)
            for name, pid in self._pids.items()
        }
