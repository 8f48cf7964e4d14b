"""The samples of deploy/proxies with the real programs: rolling restarts, long answers, closed paths."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.faults.harness.fork_server import Child, ForkServer, start_fork_server
from tests.real_servers.process import folder_of_server, free_port, issue, listens, running
from tests.real_servers.proxies import SAMPLES, SECONDS, Pair, Sample, nginx, proxied
from tests.web.conftest import GOOD, World
from tests.web.routes.jobs.test_export import fill

# Each starts up to four API processes, one after the other; a fork server does so without the imports of each.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

_PAUSE_SECONDS = 0.05  # 20 jobs a second
_BARE_SITE = (
    "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{api}; }} }}"
)

each_proxy = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fork_server() -> AsyncIterator[ForkServer]:
    async with start_fork_server() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def pair(fork_server: ForkServer, database_url: str, tmp_path: Path) -> AsyncIterator[Pair]:
    made = Pair(fork_server, database_url, tmp_path / "log")
    yield made
    await made.end()


async def _stop(api: Child) -> None:
    api.signal(signal.SIGTERM)
    assert await api.ended(SECONDS) == 0


@each_proxy
async def test_a_rolling_restart_fails_no_request(
    world: World, acme: str, pair: Pair, sample: Sample
) -> None:
    before = await world.count(acme)
    apis = await pair.start_both()
    async with proxied(sample, pair.ports) as client:
        headers, tasks = {"Authorization": world.keys[acme]}, list[asyncio.Task[httpx.Response]]()
        is_over = asyncio.Event()

        async def post() -> None:
            while not is_over.is_set():
                tasks.append(
                    asyncio.create_task(client.post("/v1/job", headers=headers, json=GOOD))
                )
                await asyncio.sleep(_PAUSE_SECONDS)

        posting = asyncio.create_task(post())
        for number, api in enumerate(apis):
            await _stop(api)
            await pair.start(number)
            await asyncio.sleep(2)  # until the proxy has noticed
        is_over.set()
        await posting
        answers = await asyncio.gather(*tasks)

    assert len(answers) > 100
    assert {answer.status_code for answer in answers} == {200}
    assert await world.count(acme) - before == len(answers)


@each_proxy
async def test_what_callers_need_comes_through_and_the_rest_is_shut(
    world: World, acme: str, pair: Pair, sample: Sample
) -> None:
    await pair.start_both()
    async with proxied(sample, pair.ports) as client:
        key = {"Authorization": world.keys[acme]}
        made = await client.post("/v1/job?", headers={**key, "Prefer": "wait=60"}, json=GOOD)
        path = f"/v1/job/{made.json()['id']}"
        first = await client.get(path, headers=key)
        same = await client.get(path, headers={**key, "If-None-Match": first.headers["etag"]})
        waited = await client.get(f"{path}?wait=60", headers=key)
        large = await client.post("/v1/job", headers=key, content=b" " * 1_500_000)
        named = await client.get("/health/live", headers={"X-Request-Id": "mine"})
        unnamed = await client.get("/health/live")
        async with client.stream("GET", "/v1/event/stream", headers=key) as stream:
            line = await anext(stream.aiter_lines())
        site, operator = str(client.base_url).rstrip("/"), {"Authorization": world.operator}
        shut = [
            # The whole address: a path that begins with two slashes would name a host.
            (await client.get(f"{site}{path}", headers=operator)).status_code
            for path in (
                *("/admin/v1/tenant", "//admin/v1/tenant", "/%61dmin/v1/tenant", "/metrics"),
                *("/admin%2fv1/tenant", "/v1/../admin/v1/tenant", "/metrics/", "//metrics"),
            )
        ]

    assert made.headers["preference-applied"] == "wait=2"
    assert (same.status_code, waited.json()["status"]) == (304, "QUEUED")
    assert (large.status_code, large.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert (named.headers["x-request-id"], unnamed.headers["x-request-id"] != "") == ("mine", True)
    assert line == "retry: 2000"
    assert shut == [404] * 8


@each_proxy
async def test_an_export_comes_whole_or_breaks_off_visibly(
    world: World, acme: str, pair: Pair, sample: Sample
) -> None:
    await fill(world, acme)
    apis = await pair.start_both()
    async with proxied(sample, pair.ports) as client:
        whole = await _export(client, world.keys[acme])
        with pytest.raises(httpx.TransportError):
            await _export(client, world.keys[acme], kill=apis)

    assert whole == await world.count(acme)


async def test_an_export_that_breaks_off_looks_so_through_nginx_as_it_is(
    world: World, acme: str, pair: Pair
) -> None:
    """nginx asks over HTTP/1.0 unless it is told otherwise."""
    await fill(world, acme)
    port = free_port()
    api = await pair.start(0)
    site = _BARE_SITE.format(port=port, api=pair.ports[0])
    with folder_of_server() as folder:
        command = nginx(folder, site, issue(folder))
        with running(command, folder, lambda: listens(port)):
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", timeout=SECONDS
            ) as client:
                with pytest.raises(httpx.TransportError):
                    await _export(client, world.keys[acme], kill=[api])


async def _export(client: httpx.AsyncClient, key: str, kill: list[Child] | None = None) -> int:
    """How many jobs an export has; with its first bytes, the API processes are killed."""
    headers, lines = {"Authorization": key}, 0
    async with client.stream("GET", "/v1/job?format=ndjson", headers=headers) as answer:
        assert answer.is_success
        async for piece in answer.aiter_bytes():
            lines += piece.count(b"\n")
            for api in kill or ():
                if api.alive:
                    await api.kill()
    return lines
