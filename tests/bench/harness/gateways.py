"""A gateway for one section: its own database, tenants with endpoints, API and worker."""

import base64
import json
import os
import sys
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis.asyncio as redis

from gateway.embedded import free_port, run_tool
from tests.bench.harness.load import NUMBER
from tests.bench.harness.owed import connected
from tests.bench.harness.parts import Outside, Running, Servers, bare_environment, start

TENANTS = 10
IN_FLIGHT = 500
# A gateway's place in here leads to the number of its Valkey database.
_DATABASES = (
    *("accept", "drain", "latency", "idle", "delivery", "isolation", "history", "pages"),
    *("burst300", "burst5000", "burst10000", "plainArq"),
    *("drainOne", "drainTen", "backlog", "sweeps", "scale"),
)
_VALKEY_DATABASES = 15  # and number 0; a later section may have that of an earlier one
_STATES = "SELECT state, count(*) FROM job WHERE NOT id = ANY($1::uuid[]) GROUP BY state"
WORKFLOW = "music-ai/stems-vocals-accompaniment"
_ENDS = ["job.succeeded", "job.failed"]


def body(run_seconds: float) -> str:
    """A job of about 350 bytes; its number goes where `########` stands."""
    return json.dumps(
        {
            "name": f"Track {NUMBER}",
            "workflow": WORKFLOW,
            "params": {
                "inputUrl": "https://media.example.com/uploads/2026/a-song-with-a-usual-name.wav",
                "quality": "high",
                "simulate": {"queueSeconds": 0, "runSeconds": run_seconds},
            },
            "metadata": {"album": "Greatest Hits", "customer": "c-20931", "source": "ingest"},
        },
        separators=(",", ":"),
    )


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the processes of one gateway share; they come and go."""

    name: str
    servers: Servers
    env: dict[str, str]
    receiver: str
    tenants: int = TENANTS
    in_flight: int = IN_FLIGHT
    keys: list[str] = field(default_factory=list)

    def api(self, name: str = "api", port: int = 0) -> AbstractAsyncContextManager[Running]:
        """`gateway serve`, listening; several at one port need names of their own."""
        env = {**self.env, "GATEWAY_SHARE_PORT": str(port > 0)}
        port = port or free_port()
        command = ("gateway", "serve", "--port", str(port))
        return start(self._folder, name, *command, port=port, env=env)

    def worker(self, name: str = "worker") -> AbstractAsyncContextManager[Running]:
        """`gateway worker`, about to take work; workers at the same time need names of their own."""
        port = free_port()
        env = {**self.env, "GATEWAY_WORKER_PORT": str(port)}
        return start(self._folder, name, "gateway", "worker", port=port, env=env)

    @property
    def _folder(self) -> Path:
        return self.servers.folder / self.name

    def complaints(self, part: str) -> str:
        """The first log lines of a part, up to ten, that are not about work well done."""
        lines = (self._folder / part / "log").read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if '"level":"info"' not in line][:10])

    async def states(self, apart: Collection[str] = ()) -> dict[str, int]:
        """How many jobs are in each state, apart from some."""
        async with connected(self.env["GATEWAY_DATABASE_URL"]) as connection:
            return dict(await connection.fetch(_STATES, list(apart)))

    async def transactions(self) -> int:
        """Of this gateway's database, by all processes that have ended."""
        return await self.servers.transactions(self.name)

    async def seed(self, api: Running) -> None:
        """Make the tenants through the API, each with a credential, an endpoint and a key."""
        command = ("-m", "gateway", "key", "create", "--operator", "--name", "bench", "--json")
        made = await run_tool(sys.executable, *command, env=self.env)
        operator = json.loads(made)["accessKey"]
        async with httpx.AsyncClient(base_url=api.url, timeout=30) as client:
            for number in range(self.tenants):
                self.keys.append(await self._seed(client, operator, f"tenant-{number}"))

    async def _seed(self, client: httpx.AsyncClient, operator: str, slug: str) -> str:
        async def call(method: str, path: str, key: str, **content: Any) -> Any:
            answer = await client.request(
                method, path, headers={"Authorization": key}, json=content
            )
            if answer.status_code != 200:
                raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
            return answer.json()

        place = f"/admin/v1/tenant/{slug}"
        limits = {"maxInFlight": self.in_flight}
        metadata = {"plan": "gold", "region": "eu"}
        tenant = {"slug": slug, "name": slug, "metadata": metadata, "limits": limits}
        await call("POST", "/admin/v1/tenant", operator, **tenant)
        await call("PUT", f"{place}/credential", operator, apiKey=f"sim-{slug}")
        key = (await call("POST", f"{place}/key", operator, name="bench"))["accessKey"]
        url = f"{self.receiver}/hook/{slug}"
        await call("POST", "/v1/endpoint", key, url=url, events=_ENDS)
        return key


async def make_gateway(
    name: str,
    servers: Servers,
    outside: Outside,
    *,
    turn: int = 0,
    tenants: int = TENANTS,
    in_flight: int = IN_FLIGHT,
) -> Gateway:
    """A gateway without processes and tenants; its settings are the defaults but for addresses.

    Every turn of a name is a gateway of its own that knows nothing of those before.
    """
    place = f"{name}-{turn}" if turn else name
    (servers.folder / place).mkdir()
    env = bare_environment() | {
        "GATEWAY_ENV": "dev",
        "GATEWAY_DATABASE_URL": await servers.database(place, migrated=True),
        "GATEWAY_REDIS_URL": await emptied(servers, name),
        "GATEWAY_MASTER_KEY": base64.b64encode(os.urandom(32)).decode(),
        "GATEWAY_ALLOW_PRIVATE_CALLBACKS": "true",
        "GATEWAY_UPSTREAM_URL": f"{outside.simulator.url}/v1",
        "GATEWAY_DRAIN_DELAY_SECONDS": "0",
        "GATEWAY_DRAIN_SECONDS": "5",
    }
    return Gateway(place, servers, env, outside.receiver.url, tenants, in_flight)


async def emptied(servers: Servers, name: str) -> str:
    """The address of the Valkey database of that name, once there is nothing in it."""
    url = servers.valkey.url_of(1 + _DATABASES.index(name) % _VALKEY_DATABASES)
    async with redis.Redis.from_url(url) as client:
        await client.flushdb()
    return url
