"""Rate limits: which requests count, for whom, and the headers."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.adapters.clock import SystemClock
from gateway.adapters.tenant_rate_limit import WindowLimiter
from gateway.core.model import KeyKind, Limits
from gateway.flows.admin.tenants import TenantUpdate, change_tenant
from tests.fakes import FakeLimiter
from tests.web.conftest import GOOD, NOBODY, World, problem
from tests.web.live import live
from tests.web.respond.test_sse import client_of, streaming
from tests.web.routes.test_event_feed import added

pytestmark = pytest.mark.asyncio(loop_scope="module")

_NAMES = ("ratelimit-policy", "ratelimit", "retry-after")


def told(answer: httpx.Response) -> list[str | None]:
    """The headers of limits in an answer."""
    return [answer.headers.get(name) for name in _NAMES]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def limits(module_world: World) -> AsyncIterator[FakeLimiter]:
    """The rate limiter of this module's application."""
    usual, limiter = module_world.client, FakeLimiter()
    module_world.client = await module_world.serve(limiter=limiter)
    yield limiter
    module_world.client = usual


async def limited(world: World, limits: FakeLimiter, left: int) -> str:
    """A tenant with a rate limit, of which so many requests are left."""
    limits.left = left
    return await world.tenant("acme", limits=Limits(max_rate=5))


async def ask(world: World, kind: str, slug: str, **headers: str) -> httpx.Response:
    method, path, body = {
        "accept": ("POST", "/v1/job", GOOD),
        "batch": ("POST", "/v1/batch", {"name": "b", "jobs": [GOOD]}),
        "list": ("GET", "/v1/job", None),
        "absent": ("GET", f"/v1/job/{NOBODY}", None),
    }[kind]
    return await world.call(method, path, slug, json=body, headers=headers)


KINDS = [("accept", 200), ("batch", 200), ("list", 200), ("absent", 404)]


@pytest.mark.parametrize(("kind", "status"), KINDS)
async def test_every_answer_has_the_rate_headers(
    world: World, limits: FakeLimiter, kind: str, status: int
) -> None:
    slug = await limited(world, limits, 3)

    answers = [await ask(world, kind, slug) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [status] * 3
    assert [told(answer) for answer in answers] == [
        ['"rate";q=5;w=1', f'"rate";r={left};t=1', None] for left in (2, 1, 0)
    ]


@pytest.mark.parametrize(("kind", "_status"), KINDS)
async def test_requests_above_the_rate_are_refused(
    world: World, limits: FakeLimiter, kind: str, _status: int
) -> None:
    slug = await limited(world, limits, 0)

    answer = await ask(world, kind, slug)

    body = problem(answer, 429, "RATE_LIMITED")
    assert "5 requests a second" in body["detail"]
    assert told(answer) == ['"rate";q=5;w=1', '"rate";r=0;t=1', "1"]
    assert await world.count(slug) == 0


async def test_without_a_rate_limit_nothing_is_counted(
    world: World, limits: FakeLimiter, acme: str
) -> None:
    await limited(world, limits, 0)

    for kind, status in KINDS:
        answer = await ask(world, kind, acme)
        assert answer.status_code == status
        assert told(answer) == [None] * 3
    assert limits.left == 0


async def test_only_requests_that_act_for_the_tenant_are_counted(
    world: World, limits: FakeLimiter
) -> None:
    slug = await limited(world, limits, 100)
    service = await world.key(KeyKind.SERVICE)
    weak = await world.key(KeyKind.TENANT, tenant=slug, scopes=frozenset({"usage:read"}))

    assert (await ask(world, "list", service, **{"Gateway-Tenant": slug})).status_code == 200
    assert limits.left == 99
    assert (await world.call("GET", "/v1/usage", weak)).status_code == 200
    assert limits.left == 98
    for kind, key in (("list", service), ("list", weak), ("list", "x"), ("accept", "x")):
        assert told(await ask(world, kind, key)) == [None] * 3
    await world.get(f"/admin/v1/tenant/{slug}", world.operator)
    await world.get("/health/live", "")
    assert limits.left == 98


class TestQueueFull:
    async def test_the_headers_describe_the_queue(self, world: World) -> None:
        slug = await world.tenant("acme", limits=Limits(max_queued=2))
        await world.job(slug)
        jobs: dict[str, Any] = {"name": "b", "jobs": [GOOD, GOOD]}

        answer = await world.call("POST", "/v1/batch", slug, json=jobs)
        problem(answer, 429, "QUEUE_FULL")
        assert told(answer) == ['"queue";q=2', '"queue";r=1;t=5', "5"]

        await world.job(slug)
        answer = await ask(world, "accept", slug)
        problem(answer, 429, "QUEUE_FULL")
        assert told(answer) == ['"queue";q=2', '"queue";r=0;t=5', "5"]
        assert await world.count(slug) == 2

    @pytest.mark.parametrize("kind", ["accept", "batch"])
    async def test_with_a_rate_limit_both_are_in_the_headers(
        self, world: World, limits: FakeLimiter, kind: str
    ) -> None:
        limits.left = 10
        slug = await world.tenant("acme", limits=Limits(max_queued=1, max_rate=5))
        await world.job(slug)

        answer = await ask(world, kind, slug)

        problem(answer, 429, "QUEUE_FULL")
        policies = answer.headers.get_list("ratelimit-policy", split_commas=True)
        left = answer.headers.get_list("ratelimit", split_commas=True)
        assert sorted(one.partition(";")[0] for one in policies) == ['"queue"', '"rate"']
        assert sorted(left) == ['"queue";r=0;t=5', '"rate";r=8;t=1']
        assert answer.headers.get_list("retry-after") == ["5"]


async def test_a_changed_limit_applies_at_once(world: World, limits: FakeLimiter) -> None:
    slug = await limited(world, limits, 100)
    tenant = await world.find(slug)
    assert told(await ask(world, "list", slug))[0] == '"rate";q=5;w=1'

    path = f"/admin/v1/tenant/{slug}"
    await world.send("PATCH", path, world.operator, {"limits": {"maxRate": 9}})
    assert told(await ask(world, "list", slug))[0] == '"rate";q=9;w=1'

    # Another process changes it and announces that.
    await change_tenant(world.deps, "test", slug, TenantUpdate(limits={"max_rate": 7}))
    assert told(await ask(world, "list", slug))[0] == '"rate";q=7;w=1'

    await world.send("PATCH", path, world.operator, {"limits": {"maxRate": None}})
    assert told(await ask(world, "list", slug)) == [None] * 3
    assert tenant.limits.max_rate == 5


async def test_other_tenants_are_not_affected(world: World, redis_url: str) -> None:
    limiter = WindowLimiter(redis_url, SystemClock())
    world.stack.push_async_callback(limiter.aclose)
    clients = [await world.serve(limiter=limiter) for _ in range(2)]
    busy, calm = [await world.tenant(name, limits=Limits(max_rate=2)) for name in ("a", "b")]

    answer = await ask(world, "list", busy)
    while answer.status_code == 200:
        world.client = clients[world.client is clients[0]]
        answer = await ask(world, "list", busy)
    problem(answer, 429, "RATE_LIMITED")
    assert told(answer)[0] == '"rate";q=2;w=1'
    for client in clients:
        world.client = client
        assert (await ask(world, "list", calm)).status_code == 200


async def test_a_stream_counts_as_one_request(world: World) -> None:
    limiter = FakeLimiter()
    slug = await limited(world, limiter, 1)
    async with live(replace(world.deps, limiter=limiter)) as port, client_of(port) as client:
        async with streaming(client, world.keys[slug]) as stream:
            for _ in range(3):
                event_id = await added(world, slug)
                event = await stream.next()
                assert event is not None
                assert event["id"] == event_id
        assert limiter.left == 0
        headers = {"Authorization": world.keys[slug]}
        answer = await client.get("/v1/event/stream", headers=headers)
        problem(answer, 429, "RATE_LIMITED")
