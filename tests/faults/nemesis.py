"""The nemesis: draws faults from a seed and injects them, one after the other."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
from redis.asyncio import Redis

from gateway.core.webhooks.signing import format_secret
from tests.faults.drills.drill import KEEPER_SECONDS, TERMINATE, query
from tests.faults.harness.fork_server import Child
from tests.faults.harness.links import Links
from tests.faults.harness.proxy import Proxy
from tests.faults.harness.rig import Rig
from tests.faults.harness.world import Tenant, World

# As much as receivers tolerate in the time that a webhook was signed at.
_SKEW_SECONDS = 240


@dataclass(slots=True)
class Nemesis:
    """Injects faults into one world until it is told to stop; `done` counts them."""

    world: World
    workers: int
    chance: random.Random
    done: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def rig(self) -> Rig:
        """Where the servers are."""
        return self.world.rig

    async def rage(self, seconds: float) -> None:
        """Inject faults for so long, then heal."""
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "kill worker": self._kill_worker,
            "kill api": self._kill_api,
            "stop worker": self._stop_worker,
            "freeze worker": self._freeze_worker,
            "flush valkey": self._flush_valkey,
            "kill valkey": self._kill_valkey,
            "kill postgres": self._kill_postgres,
            "end backends": self._end_backends,
            "break a link": self._break_link,
            "lose commits": self._lose_commits,
            "upstream trouble": self._trouble_upstream,
            "receiver trouble": self._trouble_receiver,
            "skew a clock": self._skew_clock,
            "rotate a credential": self._rotate_credential,
            "revoke a credential": self._revoke_credential,
            "move an endpoint": self._move_endpoint,
            "replace an endpoint": self._replace_endpoint,
            "rotate a secret": self._rotate_secret,
        }
        keeper = asyncio.create_task(self._keep())
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        try:
            while loop.time() < end:
                kind = self.chance.choice(sorted(kinds))
                self.done[kind] = self.done.get(kind, 0) + 1
                await kinds[kind]()
                await asyncio.sleep(self.chance.uniform(0.2, 1.5))
        finally:
            await self._heal(keeper)

    async def _heal(self, keeper: asyncio.Task[None]) -> None:
        self._links.heal()
        await self.rig.client.delete(f"{self.rig.simulator}/_control/faults")
        for worker in self.world.workers:
            worker.signal(signal.SIGCONT)
        await asyncio.sleep(2 * KEEPER_SECONDS)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await self._restart()

    async def _keep(self) -> None:
        """Start again what has ended, as a supervisor does."""
        while True:
            await asyncio.sleep(KEEPER_SECONDS)
            await self._restart()

    async def _restart(self) -> None:
        if self.world.api is None or not self.world.api.alive:
            with suppress(TimeoutError):  # it may be slow to answer, and stays supervised
                await self.world.serve()
        living = sum(worker.alive for worker in self.world.workers)
        for _ in range(self.workers - living):
            await self.world.work()

    @property
    def _links(self) -> Links:
        assert self.world.links is not None
        return self.world.links

    def _a_worker(self) -> Child:
        return self.chance.choice(self.world.workers)

    async def _pause(self, longest: float) -> None:
        await asyncio.sleep(self.chance.uniform(0.2, longest))

    async def _kill_worker(self) -> None:
        self._a_worker().signal(signal.SIGKILL)

    async def _kill_api(self) -> None:
        if self.world.api is not None:
            self.world.api.signal(signal.SIGKILL)

    async def _stop_worker(self) -> None:
        self._a_worker().signal(signal.SIGTERM)

    async def _freeze_worker(self) -> None:
        worker = self._a_worker()
        worker.signal(signal.SIGSTOP)
        await self._pause(6)
        worker.signal(signal.SIGCONT)

    async def _flush_valkey(self) -> None:
        async with Redis.from_url(self.rig.valkey.url) as valkey:
            await valkey.flushall()

    async def _kill_valkey(self) -> None:
        await self.rig.valkey_server.kill()
        await self._pause(4)
        await self.rig.valkey_server.start()

    async def _kill_postgres(self) -> None:
        await self.rig.postgres_server.kill()
        await self._pause(3)
        await self.rig.postgres_server.start()

    async def _end_backends(self) -> None:
        await query(self.world, TERMINATE)

    async def _break_link(self) -> None:
        links = self._links
        proxy: Proxy = self.chance.choice(
            [links.postgres, links.valkey, links.upstream, links.receiver]
        )
        way = self.chance.choice(["cut", "stall", "delay", "reset"])
        if way == "cut":
            proxy.cut()
        elif way == "stall":
            proxy.stall()
        elif way == "delay":
            proxy.delay = 0.2
        else:
            proxy.limit = 500
        await self._pause(4)
        proxy.heal()

    async def _lose_commits(self) -> None:
        proxy = self._links.postgres
        proxy.reset_on, proxy.after = b"COMMIT;", self.chance.random() < 0.5
        await self._pause(0.5)
        proxy.heal()

    async def _trouble_upstream(self) -> None:
        actions = [
            {"type": "ambiguous", "then": "reset"},
            {"type": "ambiguous", "then": {"type": "respond", "status": 504, "body": "html"}},
            {"type": "respond", "status": 503},
            {"type": "respond", "status": 429, "retryAfter": 1},
            {"type": "cut"},
            {"type": "reset"},
        ]
        fault = {"match": {}, "times": 5, "action": self.chance.choice(actions)}
        await self.rig.control("/faults", fault)

    async def _trouble_receiver(self) -> None:
        tenant = self._a_tenant()
        status = self.chance.choice([500, 503, 302])
        await self.rig.behave(f"/hook/{tenant.slug}", status=status, times=2)

    async def _skew_clock(self) -> None:
        """One worker is replaced by one whose clock is wrong."""
        worker = self._a_worker()
        faults = {"skew": self.chance.choice([-_SKEW_SECONDS, _SKEW_SECONDS])}
        await self.world.work(faults=faults)
        worker.signal(signal.SIGTERM)

    async def _rotate_credential(self) -> None:
        tenant, number = self._a_tenant(), sum(self.done.values())
        tenant.upstream_key = f"sim-{tenant.slug}-{number}"
        path = f"/admin/v1/tenant/{tenant.slug}/credential"
        await self._try("PUT", path, {"apiKey": tenant.upstream_key})

    async def _revoke_credential(self) -> None:
        key = self._a_tenant().upstream_key
        await self.rig.control("/keys", {"key": key, "state": "revoked"})
        await self._pause(2)
        await self.rig.control("/keys", {"key": key, "state": "active"})

    async def _move_endpoint(self) -> None:
        tenant, number = self._a_tenant(), sum(self.done.values())
        url = f"{self.world.hooks}/hook/{tenant.slug}/{number}"
        await self._try("PATCH", f"/v1/endpoint/{tenant.endpoint_id}", {"url": url}, key=tenant.key)

    async def _replace_endpoint(self) -> None:
        tenant = self._a_tenant()
        await self._try("DELETE", f"/v1/endpoint/{tenant.endpoint_id}", key=tenant.key)
        with suppress(AssertionError, httpx.HTTPError):
            url = f"{self.world.hooks}/hook/{tenant.slug}"
            tenant.endpoint_id = await self.world.add_endpoint(tenant, url)

    async def _rotate_secret(self) -> None:
        tenant, secret = self._a_tenant(), format_secret(os.urandom(32))
        await self.world.trust(tenant, secret)
        path = f"/v1/endpoint/{tenant.endpoint_id}/rotate-secret"
        await self._try("POST", path, {"secret": secret, "overlapSeconds": 1}, key=tenant.key)

    async def _try(self, method: str, path: str, body: object = None, *, key: str = "") -> None:
        with suppress(httpx.HTTPError):
            await self.world.ask(method, path, key or self.rig.operator_key, body)

    def _a_tenant(self) -> Tenant:
        return self.chance.choice(self.world.tenants)
