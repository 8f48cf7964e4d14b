"""A world: a gateway of its own on a rig, with tenants, processes to kill, and links to cut."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import httpx

from gateway.core.webhooks.signing import format_secret
from gateway.embedded import create_database, free_port
from tests.bench.harness.parts import bare_environment
from tests.faults.harness.fork_server import Child, Starter
from tests.faults.harness.fork_server_main import Order
from tests.faults.harness.links import Links, linked
from tests.faults.harness.rig import HOST, READY_SECONDS, STEP_SECONDS, TEMPLATE, Rig

# Crash points would wait half a minute for each lease; all else is as in production.
SHORT: Mapping[str, Any] = {"lease": 3.0, "lease_margin": 1.0, "lookup_delay": 0.5}
Faults = Mapping[str, Any]
_SHOWN_LINES = 100
_UNAVAILABLE = 503
_TRIES = 10
_numbers = count(1)


@dataclass(slots=True)
class Tenant:
    """A tenant of a world, its key here and its key upstream."""

    slug: str
    key: str
    upstream_key: str
    endpoint_id: str = ""
    secrets: list[str] = field(default_factory=list[str], repr=False)


@dataclass(slots=True)
class World:
    """A gateway with its own database, Valkey database, tenants, API and workers."""

    rig: Rig
    name: str
    database: str
    port: int
    env: dict[str, str]
    links: Links | None
    fork_server: Starter
    policy: dict[str, Any] = field(default_factory=dict[str, Any])
    tenants: list[Tenant] = field(default_factory=list[Tenant])
    api: Child | None = None
    workers: list[Child] = field(default_factory=list[Child])

    @property
    def url(self) -> str:
        """The root of the API."""
        return f"http://{HOST}:{self.port}"

    @property
    def hooks(self) -> str:
        """The root of the receiver as the gateway reaches it."""
        return f"http://{HOST}:{self.links.receiver.port}" if self.links else self.rig.receiver

    async def serve(self, die_at: str = "", faults: Faults | None = None, **env: str) -> Child:
        """Start the API; with a crash point it is not waited for longer than it lives."""
        self.api = await self._start("serve", die_at, faults, env)
        await self.ready(self.api)
        return self.api

    async def move(self) -> Child:
        """Start an API at another port, and have the clients go there once it answers."""
        port = free_port()
        self.env["GATEWAY_PORT"] = str(port)
        self.api = await self._start("serve", "", None, {})
        await self.ready(self.api, port)
        self.port = port
        return self.api

    async def work(self, die_at: str = "", faults: Faults | None = None, **env: str) -> Child:
        """Start one more worker."""
        worker = await self._start("worker", die_at, faults, env)
        self.workers = [one for one in self.workers if one.alive] + [worker]
        return worker

    async def ready(self, api: Child, port: int = 0) -> None:
        """Wait until the API answers, or is dead."""
        async with asyncio.timeout(READY_SECONDS):
            while api.alive:
                try:
                    await self.rig.client.get(f"http://{HOST}:{port or self.port}/health/live")
                except httpx.HTTPError:
                    await asyncio.sleep(STEP_SECONDS)
                else:
                    return

    async def _start(
        self, role: str, die_at: str, faults: Faults | None, env: Mapping[str, str]
    ) -> Child:
        order = Order(
            role=role,
            log=str(self.rig.folder / f"{self.name}-{role}.log"),
            env={**self.env, **env},
            die_at=die_at,
            policy=self.policy,
            faults=dict(faults or {}),
        )
        return await self.fork_server.start(order)

    async def ask(
        self, method: str, path: str, key: str, body: object = None, **headers: str
    ) -> httpx.Response:
        """One request, with no expectation; raises httpx.HTTPError."""
        return await self.rig.callers.request(
            method,
            f"{self.url}{path}",
            headers={"Authorization": key, **{n.replace("_", "-"): t for n, t in headers.items()}},
            json=body,
        )

    async def told(self, method: str, path: str, key: str, body: object = None) -> Any:
        """One request that must succeed, though a machine that is busy may refuse it at first."""
        answer = await self.ask(method, path, key, body)
        for _ in range(_TRIES):
            if answer.status_code != _UNAVAILABLE:
                break
            await asyncio.sleep(1)
            answer = await self.ask(method, path, key, body)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def add_tenant(self, *, hook: bool = True) -> Tenant:
        """A tenant with a credential, a key, and an endpoint at the receiver."""
        slug = f"{self.name}-{len(self.tenants)}"
        place, operator = f"/admin/v1/tenant/{slug}", self.rig.operator_key
        await self.told("POST", "/admin/v1/tenant", operator, {"slug": slug, "name": slug})
        await self.told("PUT", f"{place}/credential", operator, {"apiKey": f"sim-{slug}"})
        made = await self.told("POST", f"{place}/key", operator, {"name": "faults"})
        tenant = Tenant(slug, made["accessKey"], f"sim-{slug}")
        default = await self.told("GET", "/v1/endpoint/default-secret", tenant.key)
        tenant.secrets.append(default["secret"])
        if hook:
            tenant.endpoint_id = await self.add_endpoint(tenant, f"{self.hooks}/hook/{slug}")
        self.tenants.append(tenant)
        return tenant

    async def add_endpoint(self, tenant: Tenant, url: str) -> str:
        """One more endpoint, whose secret the receiver knows before it exists; its id."""
        secret = format_secret(os.urandom(32))
        await self.trust(tenant, secret)
        body = {"url": url, "secret": secret}
        return (await self.told("POST", "/v1/endpoint", tenant.key, body))["id"]

    async def trust(self, tenant: Tenant, secret: str) -> None:
        """Tell the receiver one more secret of a tenant."""
        tenant.secrets.append(secret)
        secrets = {tenant.slug: tenant.secrets}
        await self.rig.client.post(f"{self.rig.receiver}/secrets", json=secrets)

    async def stop(self) -> None:
        """End the workers and the API in order."""
        for child in (*self.workers, *([self.api] if self.api else [])):
            if child.alive:
                await child.stop()

    async def end(self) -> None:
        """Kill what still runs."""
        for child in (*self.workers, *([self.api] if self.api else [])):
            if child.alive:
                await child.kill()

    def complaints(self) -> str:
        """The last lines of the logs that tell of something unusual."""
        lines = (self.log("serve") + self.log("worker")).splitlines(keepends=True)
        return "".join([one for one in lines if '"level":"info"' not in one][-_SHOWN_LINES:])

    def log(self, role: str) -> str:
        """What the processes of a role have written."""
        file = self.rig.folder / f"{self.name}-{role}.log"
        return file.read_text(errors="replace") if file.exists() else ""


@asynccontextmanager
async def start_world(
    rig: Rig,
    *,
    tenants: int = 2,
    links: bool = False,
    policy: Mapping[str, Any] | None = None,
    die_at: str = "",
    faults: Faults | None = None,
    fork_server: Starter | None = None,
    make_database: Callable[[str], Awaitable[None]] | None = None,
    name: str = "",
    **env: str,
) -> AsyncGenerator[World]:
    """A world with its API, which may die at a crash point, its tenants, and no worker yet.

    `name` is that of its database, which may be there already.
    """
    number = next(_numbers)
    name = name or f"w{number}"
    if make_database is None:
        await create_database(rig.postgres, name, TEMPLATE)
    else:
        await make_database(name)
    async with AsyncExitStack() as stack:
        world = World(
            rig,
            name,
            rig.postgres.url_of(name),
            free_port(),
            {},
            await stack.enter_async_context(linked(rig)) if links else None,
            fork_server or rig.fork_server,
            dict(policy or {}),
        )
        world.env = _environment(world, number % 60) | env
        stack.push_async_callback(world.end)
        await world.serve(die_at, faults)
        for _ in range(tenants):
            await world.add_tenant()
        yield world


def _environment(world: World, logical: int) -> dict[str, str]:
    rig, links = world.rig, world.links
    postgres, valkey, upstream = rig.postgres, rig.valkey, f"{rig.simulator}/v1"
    if links is not None:
        postgres = replace(postgres, port=links.postgres.port)
        valkey = replace(valkey, port=links.valkey.port)
        upstream = f"http://{HOST}:{links.upstream.port}/v1"
    return bare_environment() | {
        "GATEWAY_ENV": "dev",
        "GATEWAY_DATABASE_URL": postgres.url_of(world.name),
        "GATEWAY_REDIS_URL": valkey.url_of(logical),
        "GATEWAY_MASTER_KEY": rig.master_key,
        "GATEWAY_ALLOW_PRIVATE_CALLBACKS": "true",
        "GATEWAY_UPSTREAM_URL": upstream,
        "GATEWAY_DELIVERY_DELAYS": "0.5,0.5,1,1,1",
        "GATEWAY_DRAIN_DELAY_SECONDS": "0.25",
        "GATEWAY_DRAIN_SECONDS": "5",
        "GATEWAY_PORT": str(world.port),
    }
