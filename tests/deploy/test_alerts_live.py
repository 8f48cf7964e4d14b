"""Alerts on a real deployment: a real Prometheus sees each of them fire for its fault, and clear."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.embedded import free_port
from tests.deploy.prometheus import Prometheus, start_prometheus
from tests.deploy.queries import BOARDS, queries, selectors
from tests.deploy.rules import program
from tests.faults.drills.drill import add_fault, query
from tests.faults.harness.links import Links
from tests.faults.harness.rig import HOST, Rig, start_rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import Tenant, World, start_world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
_SECONDS = 90.0
# After two failures the circuit breaker opens.
_POLICY = {"breaker_failures": 2}
_FAIL = """
UPDATE endpoint SET failing_since = now() - interval '4.6 days', failures = 25
WHERE id = $1::uuid"""
# A process that started after the last heartbeat of a silent one would count as its replacement.
_HEARD_LATER = """
SELECT 1 FROM process a, process b WHERE a.pid = $1 AND b.pid = $2 AND a.seen_at > b.started_at"""


@dataclass(slots=True)
class Scene:
    """A gateway, whose links can be cut, and its Prometheus."""

    world: World
    links: Links
    prometheus: Prometheus
    worker_port: int

    @property
    def tenant(self) -> Tenant:
        return self.world.tenants[0]

    async def work(self) -> None:
        """Start a worker that shows metrics."""
        await self.world.work(GATEWAY_WORKER_PORT=str(self.worker_port))

    async def submit(self) -> None:
        """Submit a job."""
        body = {"name": "job", "workflow": "audio-encoder", "params": {}}
        await self.world.told("POST", "/v1/job", self.tenant.key, body)

    async def submit_on(self) -> None:
        """Submit jobs one by one: some meet the open breaker, though others are sent to try it."""
        while True:
            await self.submit()
            await asyncio.sleep(0.5)

    async def fires(self, alert: str, *, not_even: frozenset[str] = frozenset()) -> None:
        """Wait until an alert fires; of some others none does at that time."""

        async def is_firing() -> set[str]:
            firing = await self.prometheus.firing()
            return firing if alert in firing else set()

        firing = await self._until(is_firing, f"{alert} does not fire")
        assert firing & not_even == set()

    async def is_quiet(self) -> None:
        """Wait until no alert fires."""

        async def has_cleared() -> bool:
            return not await self.prometheus.firing()

        await self._until(has_cleared, "alerts do not clear")

    async def _until(
        self, ask: Callable[[], Awaitable[set[str] | bool]], otherwise: str
    ) -> set[str]:
        try:
            found = await until(ask, _SECONDS)
        except TimeoutError:
            firing = await self.prometheus.firing()
            pytest.fail(f"{otherwise}; firing: {firing}\n{self.world.complaints()}", pytrace=False)
        return found if isinstance(found, set) else set()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[Rig]:
    program("prometheus")
    async with start_rig() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("prometheus")
    async with AsyncExitStack() as stack:
        starting = start_world(rig, tenants=1, links=True, policy=_POLICY)
        world = await stack.enter_async_context(starting)
        port = free_port()
        targets = (f"{HOST}:{world.port}", f"{HOST}:{port}")
        starting = start_prometheus(folder, targets, rig.client)
        prometheus = await stack.enter_async_context(starting)
        assert world.links is not None
        yield Scene(world, world.links, prometheus, port)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def healed(scene: Scene) -> AsyncIterator[None]:
    """No test suffers from what an earlier one that failed has left behind."""
    yield
    scene.links.heal()
    await scene.world.rig.client.delete(f"{scene.world.rig.simulator}/_control/faults")


async def test_no_worker(scene: Scene) -> None:
    await scene.fires("GatewayNoWorker", not_even=frozenset({"GatewayNoApi"}))
    await scene.work()
    await scene.is_quiet()


async def test_a_frozen_worker_until_another_one_replaces_it(scene: Scene) -> None:
    (frozen,) = scene.world.workers
    other = await scene.world.work()
    await until(lambda: query(scene.world, _HEARD_LATER, frozen.pid, other.pid), _SECONDS)
    frozen.signal(signal.SIGSTOP)
    await scene.fires("GatewayProcessStale", not_even=frozenset({"GatewayNoWorker"}))
    await frozen.kill()
    await scene.work()
    await scene.is_quiet()
    (replaced,) = await scene.prometheus.query('gw_workers_seen{state="replaced"}')
    assert replaced["value"][1] == "1"


async def test_redis_is_away(scene: Scene) -> None:
    scene.links.valkey.cut()
    await scene.fires("GatewayRedisAway")
    scene.links.heal()
    await scene.is_quiet()


async def test_postgres_is_away(scene: Scene) -> None:
    """It alone explains that nothing is known of workers and queues."""
    scene.links.postgres.cut()
    others = frozenset({"GatewayNoApi", "GatewayNoWorker", "GatewayQueueSlow", "GatewaySweepLate"})
    await scene.fires("GatewayDatabaseAway", not_even=others)
    scene.links.heal()
    await scene.is_quiet()


async def test_the_api_is_away(scene: Scene) -> None:
    assert scene.world.api is not None
    await scene.world.api.kill()
    await scene.fires("GatewayNoApi", not_even=frozenset({"GatewayDatabaseAway"}))
    await scene.world.serve()
    await scene.is_quiet()


async def test_the_upstream_is_down(scene: Scene) -> None:
    scene.links.upstream.cut()
    callers = asyncio.create_task(scene.submit_on())
    await scene.fires("GatewayUpstreamDown")
    callers.cancel()
    await asyncio.gather(callers, return_exceptions=True)
    scene.links.heal()
    await scene.is_quiet()


async def test_a_credential_is_rejected(scene: Scene, rig: Rig) -> None:
    await add_fault(rig, scene.tenant, "submit", {"type": "respond", "status": 401})
    await scene.submit()
    await scene.fires("GatewayCredentialRejected")
    await rig.client.delete(f"{rig.simulator}/_control/faults")
    place = f"/admin/v1/tenant/{scene.tenant.slug}/credential"
    await scene.world.told("PUT", place, rig.operator_key, {"apiKey": scene.tenant.upstream_key})
    await scene.is_quiet()


async def test_an_endpoint_has_failed_for_days(scene: Scene) -> None:
    # It gets no events, so that no success says that it is well.
    body = {"url": f"{scene.world.hooks}/hook/other", "events": ["endpoint.disabled"]}
    endpoint = await scene.world.told("POST", "/v1/endpoint", scene.tenant.key, body)
    await query(scene.world, _FAIL, endpoint["id"])
    await scene.fires("GatewayEndpointsFailing")
    await scene.world.told("DELETE", f"/v1/endpoint/{endpoint['id']}", scene.tenant.key)
    await scene.is_quiet()


async def test_the_boards_find_their_metrics_and_labels(scene: Scene) -> None:
    """Each query is one that Prometheus answers; each label is one that the scraped series have."""
    chosen: set[tuple[str, str]] = set()
    for page in BOARDS:
        for query_ in queries(page):
            await scene.prometheus.query(query_)
            for name, labels in selectors(query_):
                chosen.update((name, label) for label in labels - {"namespace"})
    seen = {
        one["metric"]["__name__"] for one in await scene.prometheus.query('{__name__=~"gw_.+"}')
    }
    scraped = sorted((name, label) for name, label in chosen if name in seen)
    assert ("gw_queue_held", "queue") in scraped
    for name, label in scraped:
        assert await scene.prometheus.query(f'{name}{{{label}!=""}}'), f"{name} has no {label}"
