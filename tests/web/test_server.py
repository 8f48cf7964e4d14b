"""`gateway serve` as a process: it answers over sockets, and stops without cutting off requests."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from gateway.embedded import free_port
from tests.cli.commands import bare_environment, settings_for
from tests.web.conftest import GOOD, World, problem
from tests.web.respond.test_sse import fill, streaming, unread

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SECONDS = 60


@dataclass
class Api:
    """A running `gateway serve`."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient


@asynccontextmanager
async def serving(
    database_url: str, settings: Mapping[str, str] | None = None, port: int | None = None
) -> AsyncGenerator[Api]:
    """`gateway serve` with further settings, ready, and killed at the end."""
    port = free_port() if port is None else port
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--port", str(port)),
        env={
            **bare_environment(),
            **settings_for(database_url),
            "GATEWAY_DRAIN_DELAY_SECONDS": "1",
            **(settings or {}),
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


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


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


async def test_it_is_not_ready_first_and_lets_requests_finish(
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


async def test_it_answers_until_the_load_balancer_has_removed_it(
    world: World, database_url: str, acme: str
) -> None:
    async with serving(database_url) as api, asyncio.timeout(_SECONDS):
        headers = {"Authorization": world.keys[acme]}
        before = await api.client.post("/v1/job", headers=headers, json=GOOD)
        api.process.send_signal(signal.SIGTERM)
        while (await api.client.get("/health/ready")).is_success:
            pass

        during = await api.client.post("/v1/job", headers=headers, json=GOOD)

        assert "connection" not in before.headers
        assert (during.status_code, during.headers["connection"]) == (200, "close")
        assert await api.process.wait() == 0


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM)])
async def test_a_second_signal_skips_the_delay(
    world: World, database_url: str, signals: tuple[signal.Signals, ...]
) -> None:
    delay = {"GATEWAY_DRAIN_DELAY_SECONDS": "600"}
    async with serving(database_url, delay) as api, asyncio.timeout(_SECONDS):
        for number in signals:
            api.process.send_signal(number)
            await asyncio.sleep(0.5)  # two signals of a kind at the same time count as one

        assert await api.process.wait() == 0


async def test_an_idle_connection_is_kept_for_the_time_of_the_setting(
    world: World, database_url: str
) -> None:
    async with serving(database_url, {"GATEWAY_KEEP_ALIVE_SECONDS": "2"}) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.client.base_url.port)
        for pause in (0, 1):
            await asyncio.sleep(pause)
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            await reader.readuntil(b'{"status":"ok"}')

        async with asyncio.timeout(_SECONDS):
            assert await reader.read() == b""
        writer.close()


async def test_metrics_may_have_a_separate_port(world: World, database_url: str) -> None:
    port = free_port()
    settings = {"GATEWAY_METRICS_PORT": str(port), "GATEWAY_METRICS_HOST": "127.0.0.1"}
    async with serving(database_url, settings) as api:
        own = [await api.client.get(path) for path in ("/health/ready", "/metrics")]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as beside:
            paths = ("/health/live", "/metrics", "/v1/job", "/schema/openapi.json")
            other = [await beside.get(path) for path in paths]
        api.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_SECONDS):
            assert await api.process.wait() == 0

    assert [one.status_code for one in own] == [200, 404]
    assert [one.status_code for one in other] == [200, 200, 404, 404]
    assert "gw_http_request_duration_seconds" in other[1].text
    problem(other[2], 404, "NOT_FOUND")


async def test_the_metrics_port_accepts_no_job(world: World, database_url: str, acme: str) -> None:
    port = free_port()
    headers = {"Authorization": world.keys[acme]}
    async with (
        serving(database_url, {"GATEWAY_METRICS_PORT": str(port)}),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as beside,
    ):
        problem(await beside.post("/v1/job", headers=headers, json=GOOD), 404, "NOT_FOUND")
    assert await world.count(acme) == 0


async def test_pages_may_have_a_separate_port(world: World, database_url: str, acme: str) -> None:
    port = free_port()
    settings = {"GATEWAY_CONSOLE_PORT": str(port), "GATEWAY_CONSOLE_HOST": "127.0.0.1"}
    key = {"Authorization": world.keys[acme]}
    pages = ("/console/sign-in", "/portal/link", "/console/none")
    async with serving(database_url, settings) as api:
        here = [await api.client.get(path) for path in (*pages, "/health/ready", "/v1/job")]
        made = await api.client.post("/v1/job", headers=key, json=GOOD)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as beside:
            there = [await beside.get(path) for path in (*pages, "/health/ready")]
            closed = [
                await beside.get("/v1/job", headers=key),
                await beside.post("/v1/job", headers=key, json=GOOD),
                await beside.post("/api/job", headers=key, json=GOOD),
                await beside.get("/admin/v1/tenant", headers={"Authorization": world.operator}),
                await beside.get("/metrics"),
                await beside.get("/docs"),
            ]

    assert [one.status_code for one in here] == [404, 404, 404, 200, 401]
    assert made.status_code == 200
    assert [one.status_code for one in there] == [200, 200, 404, 200]
    assert "form" in there[0].text
    assert there[2].headers["content-type"].startswith("text/html")
    for answer in closed:
        problem(answer, 404, "NOT_FOUND")
    assert await world.count(acme) == 1


async def test_a_page_that_is_under_way_is_finished_on_its_own_port(
    world: World, database_url: str
) -> None:
    port = free_port()
    settings = {"GATEWAY_CONSOLE_PORT": str(port)}
    async with serving(database_url, settings) as api, asyncio.timeout(_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        form = b"key=x"
        head = (
            "POST /console/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        )
        writer.write(head.encode() + form[:1])
        await writer.drain()
        api.process.send_signal(signal.SIGTERM)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as beside:
            while (await beside.get("/health/ready")).is_success:
                pass
        while await _listens(port):
            pass
        writer.write(form[1:])
        assert b" 401 " in await reader.readline()
        writer.close()
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
