"""Helpers around the worker of the walk: its process, a receiver, and the simulator's counters."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from aiohttp import web

from gateway.core.crypto.cipher import Secret
from gateway.core.model import Limits, NewJob, Tenant
from gateway.core.webhooks.signing import parse_secret, verify
from gateway.flows.accept.acceptor import Acceptor, Order
from gateway.flows.admin.tenants import create_tenant, put_credential
from gateway.flows.deliver.endpoints import EndpointSpec, create_endpoint
from gateway.flows.deliver.signing_secrets import default_secret
from gateway.flows.deps import Deps
from gateway.settings import Settings

_RUN = "from gateway.settings import load_settings; from gateway.worker import run; run(load_settings())"


def environment(database_url: str, redis_url: str, **more: str) -> dict[str, str]:
    """The settings of a worker that may call receivers on this machine."""
    given = {
        "ENV": "dev",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MASTER_KEY": base64.b64encode(bytes(32)).decode(),
        "ALLOW_PRIVATE_CALLBACKS": "true",
        "DELIVERY_DELAYS": "0.2,0.5",
        "DRAIN_SECONDS": "10",
    }
    return {f"GATEWAY_{name}": value for name, value in (given | more).items()}


def settings_of(given: dict[str, str]) -> Settings:
    return Settings.model_validate(
        {name.removeprefix("GATEWAY_").lower(): value for name, value in given.items()}
    )


@dataclass
class Worker:
    """A worker process and its log lines."""

    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


@contextmanager
def working(given: dict[str, str], log: Path) -> Iterator[Worker]:
    """A worker, killed at the end if it still runs."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN], env={**os.environ, **given}, stderr=output
        )
    try:
        yield Worker(process, log)
    finally:
        process.kill()
        process.wait()


async def until(condition: Callable[[], Any], seconds: float = 40.0) -> None:
    """Wait for what other processes bring about, and fail if it never comes."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.05)


@dataclass
class Inbox:
    """A receiver: what it was sent, and with which status it answers the first times."""

    url: str = ""
    secret: bytes = b""
    first: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            verify([self.secret], headers, body, now=time.time())
        except ValueError as error:
            self.forged.append(str(error))
        self.received.append((headers, body))
        return web.Response(status=self.first.pop() if self.first else 200)

    def events(self) -> dict[str, dict[str, Any]]:
        """Distinct events by id."""
        return {headers["webhook-id"]: json.loads(body) for headers, body in self.received}

    def ended(self) -> Counter[str]:
        """Count the events about the end of each job."""
        return Counter(event["data"]["id"] for event in self.events().values())


@asynccontextmanager
async def receiving() -> AsyncGenerator[Inbox]:
    inbox = Inbox()
    app = web.Application()
    app.router.add_post("/hook", inbox.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    inbox.url = f"http://{host}:{port}/hook"
    try:
        yield inbox
    finally:
        await runner.cleanup()


@dataclass
class Simulator:
    """The simulator's control routes."""

    api: str

    async def control(self, path: str = "", body: Any = None) -> Any:
        url = f"{self.api}/_control{path}"
        async with httpx.AsyncClient() as client:
            answer = await (client.get(url) if body is None else client.post(url, json=body))
        assert answer.status_code == 200, answer.text
        return answer.json()


async def new_tenant(deps: Deps, slug: str, simulator: Simulator) -> Tenant:
    """A tenant whose upstream key the simulator knows."""
    await simulator.control("/keys", {"key": f"sim-{slug}"})
    tenant = await create_tenant(deps, "test", slug=slug, name=slug, metadata="{}", limits=Limits())
    key = Secret(f"sim-{slug}")
    await put_credential(deps, "test", slug, api_key=key, base_url=f"{simulator.api}/v1")
    return tenant


async def listen(deps: Deps, tenant: Tenant, inbox: Inbox) -> None:
    """Have the ends of a tenant's jobs posted to an inbox."""
    wanted = EndpointSpec(inbox.url, events=["job.succeeded", "job.failed"])
    _, key = await create_endpoint(deps, tenant.id, wanted)
    inbox.secret = key


async def listen_to_callbacks(deps: Deps, tenant: Tenant, inbox: Inbox) -> None:
    inbox.secret = parse_secret(await default_secret(deps, tenant.id))


async def accept(
    deps: Deps, tenant: Tenant, count: int, *, callback: Inbox | None = None, **script: Any
) -> list[UUID]:
    """Accept jobs that follow a script at the simulator."""
    acceptor = Acceptor(deps)
    params = json.dumps({"simulate": {"queueSeconds": 0, "runSeconds": 0.2, **script}})
    orders = [
        Order(
            NewJob(
                deps.ids.uuid(),
                tenant.id,
                "song",
                "music-ai/generate-chords",
                params,
                "{}",
                callback_url=callback and callback.url,
            ),
            100_000,
        )
        for _ in range(count)
    ]
    return [one.id for one in await asyncio.gather(*map(acceptor.accept, orders))]


async def states(deps: Deps) -> dict[str, int]:
    async with deps.db.single() as tx:
        rows = await tx.rows("SELECT state, count(*) FROM job GROUP BY state")
    return {row[0]: row[1] for row in rows}


async def owed(deps: Deps) -> int:
    """Deliveries that did not end as delivered."""
    async with deps.db.single() as tx:
        return (await tx.rows("SELECT count(*) FROM delivery WHERE state <> 'delivered'"))[0][0]


async def end_leases(deps: Deps) -> None:
    """Let the leases of a process that died run out now rather than in 30 seconds."""
    async with deps.db.single() as tx:
        await tx.run("UPDATE job SET next_at = now() WHERE state = 'submitting'")
        await tx.run(
            "UPDATE credential SET poll_lease_until = now(), poll_at = now()"
            " WHERE poll_lease_until IS NOT NULL"
        )
        await tx.run(
            "UPDATE delivery SET next_at = now() WHERE state = 'pending' AND lease_token IS NOT NULL"
        )
