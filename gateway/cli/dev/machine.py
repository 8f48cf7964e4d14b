"""All parts of a gateway on one machine: starts, supervises and stops them in order."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.cli.dev.parts import (
    Site,
    choose_site,
    make_api,
    make_environment,
    make_receiver,
    make_simulator,
    make_worker,
    run_gateway,
)
from gateway.cli.dev.seed import Seeds, plant
from gateway.cli.dev.supervisor import Supervisor
from gateway.embedded import (
    create_database,
    hold,
    prepare_postgres,
    prepare_valkey,
)
from gateway.host.private_files import write_private

_DATABASE = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOptions:
    """What to run and where; port 0 chooses a free one."""

    folder: Path
    port: int = 0
    workers: int = 1
    simulator: bool = True
    seed: int = 0


class Machine:
    """The running parts; `facts` is the content of dev.json, empty until all parts are ready."""

    def __init__(self, options: MachineOptions, folder: Path, say: Callable[[str], None]) -> None:
        self.facts: dict[str, Any] = {}
        self.folder = folder
        self._options = options
        self._say = say
        self._env: dict[str, str] = {}
        self._supervisor = Supervisor(say, self._write_facts)
        self._workers = [f"worker-{number}" for number in range(1, options.workers + 1)]

    async def start(self) -> None:
        """Start every part; raises PortTakenError or PartFailedError."""
        folder, options = self.folder, self._options
        site = choose_site(folder, options.port, simulator=options.simulator)
        self._say("starting Postgres and Valkey")
        postgres = await prepare_postgres(_make(folder / "postgres"))
        valkey = prepare_valkey(_make(folder / "redis"))
        database = postgres.url_of(_DATABASE)
        env = self._env = make_environment(folder, site, database=database, redis=valkey.url)
        outside = [make_receiver(folder, site.receiver, env)]
        if site.simulator is not None:
            simulator = make_simulator(folder, site.simulator, site.files, options.seed, env)
            outside.append(simulator)
        await self._supervisor.start(postgres.part, valkey.part, *outside)
        await create_database(postgres, _DATABASE)
        self._say("starting the API and the workers")
        await run_gateway("db", "upgrade", env=env)
        workers = (make_worker(folder, number + 1, env) for number in range(options.workers))
        await self._supervisor.start(make_api(folder, site, env), *workers)
        self._say("making keys and tenants")
        seeds = await plant(folder, site, env)
        self.facts = _facts(site, seeds, database, valkey.url)
        self._write_facts()

    async def stop(self) -> None:
        """Stop the API and the workers first, and the database last."""
        self.facts = {}
        (self.folder / "dev.json").unlink(missing_ok=True)
        await self._supervisor.stop(("api", *self._workers))
        await self._supervisor.stop(("simulator", "receiver"))
        await self._supervisor.stop(("redis",))
        await self._supervisor.stop(("postgres",))

    async def console_link(self) -> str:
        """A link that signs in to the console once, within five minutes."""
        return (await run_gateway("console", "link", "--name", "dev", env=self._env)).strip()

    def kill(self) -> None:
        """End every part at once."""
        self._supervisor.kill()

    def log_tails(self) -> str:
        """Return the last lines of all logs, to find out what failed."""
        logs = sorted(self.folder.glob("**/*.log"))
        return "\n".join(f"--- {log.name}\n{_tail(log)}" for log in logs)

    def _write_facts(self) -> None:
        """Write dev.json, if all parts are ready."""
        if self.facts:
            pids = self._supervisor.pids()
            self.facts["pids"] = {
                "api": [pids["api"]],
                "worker": [pids[name] for name in self._workers],
                "simulator": pids.get("simulator"),
                "receiver": pids["receiver"],
                "postgres": pids["postgres"],
                "redis": pids["redis"],
            }
            write_private(self.folder / "dev.json", json.dumps(self.facts, indent=2) + "\n")


@asynccontextmanager
async def run_machine(
    options: MachineOptions, say: Callable[[str], None]
) -> AsyncGenerator[Machine]:
    """Provide a machine that is not started yet; its parts are stopped at the end of the block.

    Raises FolderInUseError. `say` gets one line about each step and each unexpected restart.
    """
    with hold(options.folder) as folder:
        (folder / "dev.json").unlink(missing_ok=True)
        machine = Machine(options, folder, say)
        try:
            yield machine
        finally:
            await machine.stop()


def _make(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _facts(site: Site, seeds: Seeds, database: str, redis: str) -> dict[str, Any]:
    return {
        "api": site.api,
        "dashboard": f"{site.api}/console",
        "simulator": site.simulator,
        "receiver": site.receiver,
        "databaseUrl": database,
        "redisUrl": redis,
        "operatorKey": seeds.operator_key,
        "serviceKey": seeds.service_key,
        "tenants": [
            {
                "slug": tenant.slug,
                "accessKey": tenant.access_key,
                "endpointSecret": tenant.endpoint_secret,
            }
            for tenant in (seeds.tenants if site.simulator else ())
        ],
    }
