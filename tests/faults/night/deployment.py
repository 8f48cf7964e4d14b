"""The deployment of the night exercise, as an operator has it, and the doctor that is run on it."""

import asyncio
import json
import re
import shutil
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from gateway.embedded import free_port
from tests.bench.harness.parts import ROOT
from tests.deploy.prometheus import Prometheus, start_prometheus
from tests.faults.harness.debian_postgres import debian_postgres
from tests.faults.harness.links import Links
from tests.faults.harness.rig import HOST, Rig, run_command, start_rig
from tests.faults.harness.small_disk import may_mount, small_disk
from tests.faults.harness.waiting import until
from tests.faults.harness.world import Tenant, World, start_world
from tests.real_servers.postgres import PASSWORD

# Of the database and of its login.
NAME = "night"
# Room for the deployment and little more, and a log that is soon as large as it may be.
_POSTGRES = {"max_connections": "60", "max_wal_size": "32MB", "max_prepared_transactions": "2"}
_DISK_MEGABYTES = 120
_NAMED_SECONDS = 90.0
_ALERT_SECONDS = 60.0
_QUIET_SECONDS = 150.0
_DOCTOR_SECONDS = 120.0
_PAUSE_SECONDS = 0.5

Finding = dict[str, str]
Changes = Mapping[str, str]
NO_CHANGES: Changes = {}


class Named(NamedTuple):
    """The finding that names a cause, the seconds until it was there, and all that was wrong then."""

    finding: Finding | None
    seconds: float
    wrong: list[Finding]


@dataclass(slots=True)
class Night:
    """Two API processes, two workers, two tenants; a plain login at Postgres; a small disk if possible.

    `prometheus` scrapes them, with our alerts, where it is installed. `odd_port` is for the metrics of one
    more worker.
    """

    rig: Rig
    world: World
    disk: Path | None
    prometheus: Prometheus | None
    worker_ports: list[int]
    odd_port: int
    secrets: list[str] = field(default_factory=list[str], repr=False)

    @property
    def links(self) -> Links:
        """The proxies on the way out of the gateway."""
        assert self.world.links is not None
        return self.world.links

    @property
    def tenant(self) -> Tenant:
        """The tenant that faults happen to."""
        return self.world.tenants[0]

    async def work(self) -> None:
        """Have two workers again."""
        for port in self.worker_ports[sum(worker.alive for worker in self.world.workers) :]:
            await self.world.work(GATEWAY_WORKER_PORT=str(port))

    async def doctor(self, changes: Changes = NO_CHANGES) -> list[Finding]:
        """What `gateway doctor --json` finds, which takes no longer than it may, and tells no secret."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "gateway", "doctor", "--json"),
            env={**self.world.env, **changes},
            cwd=ROOT,
            stdout=PIPE,
            stderr=PIPE,
        )
        async with asyncio.timeout(_DOCTOR_SECONDS):
            out, err = await process.communicate()
        assert process.returncode in (0, 1, 7), err.decode()
        told = (out + err).decode()
        assert not [secret for secret in self.secrets if secret in told]
        assert "Traceback" not in told, told
        return json.loads(out)

    async def named(self, subject: str, words: str, changes: Changes) -> Named:
        """Run the doctor until a finding names the cause, or for too long."""
        began = time.monotonic()
        while True:
            found = wrong(await self.doctor(changes))
            seconds = time.monotonic() - began
            for one in found:
                if one["subject"] == subject and re.search(words, one["text"]):
                    return Named(one, seconds, found)
            if seconds > _NAMED_SECONDS:
                return Named(None, seconds, found)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def fires(self, alert: str) -> bool | None:
        """Whether an alert fires within a minute; None where there is no Prometheus, or no alert."""
        prometheus = self.prometheus
        if prometheus is None or not alert:
            return None

        async def is_firing() -> bool:
            return alert in await prometheus.firing()

        try:
            return await until(is_firing, _ALERT_SECONDS)
        except TimeoutError:
            return False

    async def is_quiet(self) -> float:
        """Run the doctor until nothing is wrong; the seconds until then."""
        began = time.monotonic()
        while found := wrong(await self.doctor()):
            if time.monotonic() - began > _QUIET_SECONDS:
                told = json.dumps(found, indent=2)
                pytest.fail(f"still wrong: {told}\n{self.world.complaints()}", pytrace=False)
            await asyncio.sleep(_PAUSE_SECONDS)
        return time.monotonic() - began


def wrong(findings: list[Finding]) -> list[Finding]:
    """The findings that are warnings or errors."""
    return [one for one in findings if one["level"] != "ok"]


@asynccontextmanager
async def start_night() -> AsyncGenerator[Night]:
    """The deployment for the time of the block, at rest."""
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(start_rig(programs=debian_postgres(), **_POSTGRES))
        disk = (
            stack.enter_context(small_disk(rig, "small", _DISK_MEGABYTES)) if may_mount() else None
        )

        async def make_database(_: str) -> None:
            await _make_database(rig, disk)

        starting = start_world(
            rig,
            links=True,
            make_database=make_database,
            name=NAME,
            GATEWAY_DATABASE_URL=_login_url(rig),
            GATEWAY_REDIS_URL=rig.valkey.url_of(1),
            GATEWAY_DATABASE_POOL="5",
        )
        world = await stack.enter_async_context(starting)
        secrets = [rig.master_key, rig.valkey.password, PASSWORD, quote(PASSWORD, safe="")]
        secrets += [one.upstream_key for one in world.tenants]
        api_ports, worker_ports = [world.port, free_port()], [free_port(), free_port()]
        odd_port = free_port()
        targets = [f"{HOST}:{port}" for port in (*api_ports, *worker_ports, odd_port)]
        prometheus = await _start_prometheus(stack, rig, targets)
        night = Night(rig, world, disk, prometheus, worker_ports, odd_port, secrets)
        await world.serve(GATEWAY_PORT=str(api_ports[1]))
        await night.work()
        await night.is_quiet()
        yield night


async def _start_prometheus(
    stack: AsyncExitStack, rig: Rig, targets: Sequence[str]
) -> Prometheus | None:
    if shutil.which("prometheus") is None:
        return None
    folder = rig.folder / "prometheus"
    folder.mkdir()
    return await stack.enter_async_context(start_prometheus(folder, targets, rig.client))


async def _make_database(rig: Rig, disk: Path | None) -> None:
    """A database of a login that is no superuser, in the way of docs/postgres.md."""
    place = ""
    if disk is not None:
        await rig.postgres.sql(f"CREATE TABLESPACE small LOCATION '{disk}'")
        place = " TABLESPACE small"
    await rig.postgres.sql(
        f"CREATE ROLE {NAME} LOGIN PASSWORD '{PASSWORD}'",
        f"GRANT gateway_tenant, pg_monitor TO {NAME}",
        f"CREATE DATABASE {NAME} OWNER {NAME} TEMPLATE template0{place}",
    )
    env = rig.env(NAME) | {"GATEWAY_DATABASE_URL": _login_url(rig)}
    await run_command(rig, env, "db", "upgrade")
    made = await run_command(rig, env, "key", "create", "--operator", "--name", "night", "--json")
    rig.operator_key = json.loads(made)["accessKey"]


def _login_url(rig: Rig) -> str:
    return f"postgresql://{NAME}:{quote(PASSWORD, safe='')}@{HOST}:{rig.postgres.port}/{NAME}"


def job(run: float = 3600.0) -> dict[str, Any]:
    """The body of a job that runs for long."""
    plan = {"queueSeconds": 0, "runSeconds": run}
    params = {"inputUrl": "https://media.test/a.wav", "simulate": plan}
    return {"name": "night", "workflow": "music-ai/generate-chords", "params": params}
