"""Long requests end when their key ends or their tenant is suspended."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.core.model import KeyKind
from gateway.errors import Unavailable
from gateway.flows.accept.authenticate import Authenticator
from gateway.flows.read import export as pages
from gateway.store.job_search.lists import Page
from gateway.web.asgi.request_context import Caller
from gateway.web.asgi.types import Message
from gateway.web.capacity import long_requests
from gateway.web.capacity.long_requests import LongRequests
from gateway.web.respond.concurrency_limits import stream_limit
from gateway.web.respond.download import Download
from tests.web.conftest import GOOD, World, problem
from tests.web.live import live

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SECONDS = 20
_LONG = 60


@pytest_asyncio.fixture(loop_scope="module")
async def key(world: World, acme: str) -> str:
    """A key of the tenant that a test may revoke."""
    return await world.key(KeyKind.TENANT, tenant=acme)


async def revoke(world: World, key: str) -> None:
    await world.send("DELETE", f"/admin/v1/key/{key.split('_')[1]}", world.operator)


async def read_on(lines: AsyncIterator[str]) -> None:
    async with asyncio.timeout(_SECONDS):
        async for _ in lines:
            pass


@asynccontextmanager
async def waiting(
    world: World, method: str, path: str, key: str, **options: Any
) -> AsyncGenerator[asyncio.Task[httpx.Response]]:
    """A request that waits; it must be answered long before its time is up."""
    asking = asyncio.create_task(world.call(method, path, key, **options))
    await asyncio.sleep(0.3)
    assert not asking.done()
    yield asking
    async with asyncio.timeout(_SECONDS):
        await asking


async def test_a_wait_for_events_ends_with_its_key(world: World, acme: str, key: str) -> None:
    async with waiting(world, "GET", f"/v1/event?wait={_LONG}", key) as asking:
        await revoke(world, key)
    problem(await asking, 401, "UNAUTHORIZED")


async def test_a_wait_for_a_job_ends_with_its_key(world: World, acme: str, key: str) -> None:
    path = f"/v1/job/{await world.job(acme)}?wait={_LONG}"
    async with waiting(world, "GET", path, key) as asking:
        await revoke(world, key)
    problem(await asking, 401, "UNAUTHORIZED")


async def test_a_submit_that_waits_still_answers_with_its_job_id(
    world: World, acme: str, key: str
) -> None:
    prefer = {"Prefer": f"wait={_LONG}"}
    async with waiting(world, "POST", "/v1/job", key, headers=prefer, json=GOOD) as asking:
        await revoke(world, key)
    answer = await asking
    assert (answer.status_code, list(answer.json())) == (200, ["id"])


async def test_requests_with_other_keys_continue(world: World, acme: str, key: str) -> None:
    other = await world.tenant("globex")
    job = await world.job(acme)
    paths = {acme: f"/v1/job/{job}?wait=2", other: "/v1/event?wait=2"}
    asking = [asyncio.create_task(world.call("GET", path, who)) for who, path in paths.items()]
    await asyncio.sleep(0.3)
    await revoke(world, key)
    assert [answer.status_code for answer in await asyncio.gather(*asking)] == [200, 200]


async def test_a_suspension_ends_the_tenants_wait_but_not_a_services(
    world: World, acme: str
) -> None:
    service = await world.key(KeyKind.SERVICE)
    path = f"/v1/job/{await world.job(acme)}?wait=3"
    reading = asyncio.create_task(world.call("GET", path, service))
    async with waiting(world, "GET", path.replace("=3", f"={_LONG}"), acme) as asking:
        await world.send("POST", f"/admin/v1/tenant/{acme}/suspend", world.operator)
    problem(await asking, 403, "TENANT_SUSPENDED")
    assert (await reading).status_code == 200


async def test_a_key_that_expires_is_noticed_without_an_announcement(
    world: World, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_requests, "_RECHECK_SECONDS", 0.05)
    short = await world.key(KeyKind.TENANT, tenant=acme, expires_seconds=1.0)
    async with waiting(world, "GET", f"/v1/event?wait={_LONG}", short) as asking:
        pass
    problem(await asking, 401, "UNAUTHORIZED")


async def test_no_request_ends_while_the_database_is_away(
    world: World, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def away(*_: object) -> None:
        asked.set()
        raise Unavailable("away")

    monkeypatch.setattr(long_requests, "recheck", away)
    monkeypatch.setattr(long_requests, "_RECHECK_SECONDS", 0.05)
    asking = asyncio.create_task(world.call("GET", "/v1/event?wait=1", acme))
    await asked.wait()
    assert (await asking).status_code == 200


# --- What is sent piece by piece ----------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(module_world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        live(module_world.deps) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=_SECONDS) as made,
    ):
        yield made


async def test_a_stream_ends_with_its_key(
    world: World, client: httpx.AsyncClient, acme: str, key: str
) -> None:
    headers = {"Authorization": key}
    async with client.stream("GET", "/v1/event/stream", headers=headers) as answer:
        lines = answer.aiter_lines()
        await anext(lines)
        await revoke(world, key)
        await read_on(lines)
    again = await client.get("/v1/event/stream", headers=headers)
    assert again.status_code == 401


@pytest.mark.parametrize("end", ["key", "tenant"])
async def test_an_export_breaks_off_when_its_key_ends_or_its_tenant_is_suspended(
    world: World, client: httpx.AsyncClient, key: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent has no proper end, so nobody takes it for complete."""
    acme = next(slug for slug in reversed(world.keys) if slug.startswith("acme"))
    await world.job(acme)
    page = pages.lists.page

    async def endless(*arguments: Any, **options: Any) -> Page:
        return (await page(*arguments, **options | {"before": None}))._replace(more=True)

    monkeypatch.setattr(pages.lists, "page", endless)
    ending = {
        "key": ("DELETE", f"/admin/v1/key/{key.split('_')[1]}"),
        "tenant": ("POST", f"/admin/v1/tenant/{acme}/suspend"),
    }
    headers = {"Authorization": key, "Accept": "application/x-ndjson"}
    async with client.stream("GET", "/v1/job", headers=headers) as answer:
        lines = answer.aiter_lines()
        assert json.loads(await anext(lines))["status"] == "QUEUED"
        await world.send(*ending[end], world.operator)
        with pytest.raises(httpx.RemoteProtocolError):
            await read_on(lines)


def gate_of(world: World) -> tuple[Authenticator, LongRequests]:
    """The parts of a separate process."""
    identities = Authenticator(world.deps)
    gate = LongRequests(world.deps, identities)
    world.queue.listen(identities.forget)
    world.queue.listen(gate.hear)
    return identities, gate


async def test_a_reader_that_reads_nothing_is_cut_off_too(world: World, key: str) -> None:
    identities, gate = gate_of(world)
    caller = Caller(await identities.identify(key), None)
    begun = asyncio.Event()

    async def chunks() -> AsyncGenerator[bytes]:
        while True:
            yield b"a"

    async def receive() -> dict[str, Any]:
        return await asyncio.Event().wait() and {}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            begun.set()
            await asyncio.Event().wait()

    download = Download(
        "text/csv", chunks(), stream_limit(), "o", lambda: False, lambda: gate.within(caller)
    )
    sending = asyncio.create_task(download({}, receive, send))
    await begun.wait()
    await revoke(world, key)
    async with asyncio.timeout(_SECONDS):
        await sending


async def test_a_caller_that_disconnects_is_cancelled(world: World, key: str) -> None:
    identities, gate = gate_of(world)
    caller = Caller(await identities.identify(key), None)

    async def wait() -> None:
        async with gate.within(caller):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
