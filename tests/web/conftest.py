"""The API in this process on a real database, with tenants, keys, and a fake upstream."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import httpx
import pytest_asyncio

from gateway.adapters.clock import PostgresClock, SystemClock
from gateway.core.crypto.cipher import Cipher, Secret
from gateway.core.lifecycle import Finish
from gateway.core.model import KeyKind, Limits, Tenant
from gateway.core.policy import Policy
from gateway.flows.admin.access_keys import create_key
from gateway.flows.admin.tenants import create_tenant, get_tenant, put_credential
from gateway.flows.deps import Deps
from gateway.flows.process.slots import Slots
from gateway.flows.settle.settlement import ending, settle
from gateway.store.database import open_database
from gateway.web.app import create_app
from gateway.web.capacity.limits import HttpLimits
from tests.fakes import FakeIds, FakeLimiter, FakeObserver, FakeQueue, FakeSender, FakeUpstream
from tests.web.contract import breaches

GOOD: dict[str, Any] = {
    "name": "one",
    "workflow": "music-ai/generate-chords",
    "params": {"inputUrl": "https://media.example.com/a.wav"},
}
NOBODY = "0190e3a0-0000-7000-8000-000000000000"


@dataclass
class World:
    """The application and its parts; `keys` has the keys of tenants by slug."""

    deps: Deps
    upstream: FakeUpstream
    queue: FakeQueue
    sender: FakeSender
    observer: FakeObserver
    stack: AsyncExitStack
    operator: str = ""
    invents: bool = False  # events that the gateway itself would not make
    keys: dict[str, str] = field(default_factory=dict)

    async def serve(self, *, max_body_bytes: int = 65_536, **changes: Any) -> httpx.AsyncClient:
        """A client of an application of its own, as another process would be."""
        limits = HttpLimits(max_body_bytes=max_body_bytes)
        app = create_app(replace(self.deps, **changes), limits)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
        return await self.stack.enter_async_context(client)

    async def open(self) -> None:
        self.client = await self.serve()
        self.operator = await self.key(KeyKind.OPERATOR)

    async def tenant(self, name: str, *, credential: bool = True, **options: Any) -> str:
        """The slug of a tenant that there was not before; its key is in `keys`."""
        slug = f"{name}-{self.deps.ids.random_bytes(4).hex()}"
        given: dict[str, Any] = {"metadata": "{}", "limits": Limits()} | options
        await create_tenant(self.deps, "test", slug=slug, name=name.title(), **given)
        if credential:
            secret = Secret(f"key-of-{slug}")
            await put_credential(self.deps, "test", slug, api_key=secret, base_url=None)
        self.keys[slug] = await self.key(KeyKind.TENANT, tenant=slug)
        return slug

    async def find(self, slug: str) -> Tenant:
        return await get_tenant(self.deps, slug)

    async def key(self, kind: KeyKind, **options: Any) -> str:
        _, text = await create_key(self.deps, "test", kind=kind, name="test", **options)
        return text

    async def call(
        self, method: str, path: str, key: str = "", *, headers: Any = None, **options: Any
    ) -> httpx.Response:
        """One request, whose answer must be as described; `key` is a slug, or an access key itself."""
        sent = {"Authorization": self.keys.get(key, key)} if key else {}
        answer = await self.client.request(method, path, headers=sent | (headers or {}), **options)
        assert self.invents or breaches(answer) == []
        return answer

    async def get(self, path: str, key: str, **headers: str) -> Any:
        """The JSON of an answer that must be 200."""
        answer = await self.call("GET", path, key, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def send(self, method: str, path: str, key: str, body: Any = None) -> Any:
        """The JSON that a request with a JSON body, which must succeed, is answered with."""
        options = {} if body is None else {"json": body}
        answer = await self.call(method, path, key, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def job(self, slug: str, **fields: Any) -> str:
        """The id of a new job."""
        return (await self.send("POST", "/v1/job", slug, GOOD | fields))["id"]

    async def finish(self, job_id: str, finish: Finish) -> None:
        """End a job."""
        async with self.deps.db.begin() as tx:
            await settle(tx, self.deps, [ending(UUID(job_id), finish)])

    async def count(self, slug: str) -> int:
        """How many jobs of a tenant are stored, deleted ones too."""
        tenant = await self.find(slug)
        async with self.deps.db.single() as tx:
            row = await tx.row("SELECT count(*) FROM job WHERE tenant_id = $1", tenant.id)
        return row[0] if row else 0


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of an error, which must have all fields."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = json.loads(answer.text)
    assert body["code"] == code
    assert body["status"] == status
    assert body["message"] == body["detail"]
    assert body["requestId"] == answer.headers["x-request-id"]
    assert {"type", "title"} <= body.keys()
    return body


def next_page(answer: httpx.Response) -> str:
    """The path in the header Link, which must be relative; empty without the header."""
    link = answer.links.get("next", {}).get("url", "")
    assert link[:1] in ("", "?")
    return link and answer.url.join(link).raw_path.decode()


def fields_of(body: dict[str, Any]) -> list[str]:
    """The fields that an error names."""
    return [one["field"] for one in body.get("errors", [])]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_world(database_url: str) -> AsyncIterator[World]:
    """One for all tests of a module, because an application takes longer to make than a request."""
    database = open_database(
        database_url.replace("postgresql://", "postgresql+asyncpg://"), pool=5, name="test"
    )
    upstream, queue, sender, observer = FakeUpstream(), FakeQueue(), FakeSender(), FakeObserver()
    clock = PostgresClock(SystemClock())
    deps = Deps(
        db=database,
        upstream=upstream,
        catalogue=upstream,
        sender=sender,
        queue=queue,
        limiter=FakeLimiter(),
        clock=clock,
        ids=FakeIds(seed=None),
        observer=observer,
        cipher=Cipher([bytes(32)]),
        policy=Policy(),
        upstream_url="https://upstream.invalid/v1",
        slots=Slots(clock),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        made = World(deps, upstream, queue, sender, observer, stack)
        await made.open()
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def world(module_world: World) -> AsyncIterator[World]:
    """The application without anything cached by the tests before."""
    first = module_world.client
    module_world.queue.wakes.clear()
    module_world.invents = False
    module_world.observer.seen.clear()
    yield module_world
    module_world.client = first
    module_world.sender.refused.clear()
    vars(module_world.upstream).update(vars(FakeUpstream()))


@pytest_asyncio.fixture(loop_scope="module")
async def acme(world: World) -> str:
    """The slug of a tenant."""
    return await world.tenant("acme")
