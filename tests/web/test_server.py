"""`gateway serve` as a process: it answers over sockets, and stops without cutting anyone off."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from gateway.embedded import free_port
from tests.cli.commands import bare_environment, settings_for
from tests.web.conftest import GOOD, World, problem
from tests.web.test_streams import fill, streaming, unread

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SECONDS = 60


@dataclass
class Api:
    """A running `gateway serve`."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient


@asynccontextmanager
async def serving(database_url: str) -> AsyncGenerator[Api]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--port", str(port)),
        env={
            **bare_environment(),
            **settings_for(database_url),
            "GATEWAY_DRAIN_DELAY_SECONDS": "1",
        },
        stderr=asyncio.subprocess.DEVNULL,
    )
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=_SECONDS)
    try:
        async with client:
            await _until_ready(process, client)
            yield Api(process, client)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(database_url: str) -> AsyncIterator[Api]:
    async with serving(database_url) as started:
        yield started


async def _until_ready(process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(_SECONDS):
        while process.returncode is None:
            try:
                if (await client.get("/health/ready")).is_success:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    pytest.fail("gateway serve ended")


async def test_it_answers_over_sockets(world: World, api: Api, acme: str) -> None:
    headers = {"Authorization": world.keys[acme]}

    made = await api.client.post("/v1/job", headers=headers, json=GOOD)
    read = await api.client.get(f"/v1/job/{made.json()['id']}", headers=headers)
    head = await api.client.head("/v1/application", headers=headers)
    large = await api.client.post("/v1/job", headers=headers, content=b" " * 10_000_000)

    assert (made.status_code, read.json()["id"]) == (200, made.json()["id"])
    assert (head.status_code, head.content) == (200, b"")
    problem(large, 413, "PAYLOAD_TOO_LARGE")


async def test_a_key_revoked_without_redis_ends_within_seconds(
    world: World, api: Api, acme: str
) -> None:
    headers = {"Authorization": world.keys[acme]}
    assert (await api.client.get("/v1/job", headers=headers)).is_success
    key_id = world.keys[acme].split("_")[1]

    await world.send("DELETE", f"/admin/v1/key/{key_id}", world.operator)

    async with asyncio.timeout(_SECONDS):
        while (await api.client.get("/v1/job", headers=headers)).is_success:
            pass


async def test_it_tells_the_balancer_first_and_lets_requests_finish(
    world: World, database_url: str, acme: str
) -> None:
    async with serving(database_url) as api, asyncio.timeout(_SECONDS):
        headers = {"Authorization": world.keys[acme], "Prefer": "wait=60"}
        waiting = asyncio.create_task(api.client.post("/v1/job", headers=headers, json=GOOD))
        while await world.count(acme) == 0:
            pass

        api.process.send_signal(signal.SIGTERM)
        while (ready := await api.client.get("/health/ready")).is_success:
            pass

        assert ready.json()["status"] == "draining"
        answer = await waiting
        assert (answer.status_code, answer.json()["status"]) == (200, "QUEUED")
        assert await api.process.wait() == 0


async def test_streams_do_not_keep_it_from_stopping(
    world: World, database_url: str, acme: str
) -> None:
    start, *_ = await fill(world, acme)
    async with serving(database_url) as api, asyncio.timeout(_SECONDS):
        port, key = api.client.base_url.port or 0, world.keys[acme]
        with await unread(port, key, start):
            await asyncio.sleep(1)  # until the buffers in between are full
            async with streaming(api.client, key) as stream:
                api.process.send_signal(signal.SIGTERM)
                assert await stream.next() is None
            assert await api.process.wait() == 0
