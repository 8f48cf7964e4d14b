"""The samples of deploy/ with Debian's nginx and HAProxy: rolling restarts, long answers, shut paths."""

import asyncio
import signal
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.real_servers.process import (
    Certificates,
    folder_of_server,
    free_port,
    issue,
    listens,
    own,
    program,
    running,
)
from tests.web.conftest import GOOD, World
from tests.web.routes.jobs.test_export import fill
from tests.web.test_server import Api, serving

# Each starts up to four API processes, one after the other.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

_DEPLOY = Path(__file__).parents[2] / "deploy"
_SECONDS = 60
_PAUSE_SECONDS = 0.05  # 20 jobs a second
_NGINX = """\
pid {folder}/pid; daemon off; error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{site}
}}
"""
_BARE_SITE = (
    "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{api}; }} }}"
)

# Writes the configuration into a folder, and says how the proxy is started.
Setup = Callable[[Path, str, Certificates], tuple[str, ...]]


def _nginx(folder: Path, site: str, tls: Certificates) -> tuple[str, ...]:
    site = site.replace("/etc/nginx/tls/gateway.crt", str(tls.cert))
    site = site.replace("/etc/nginx/tls/gateway.key", str(tls.key))
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, site=site))
    own(file)
    return (program("nginx"), "-p", str(folder), "-c", str(file))


def _haproxy(folder: Path, site: str, tls: Certificates) -> tuple[str, ...]:
    both, file = folder / "gateway.pem", folder / "haproxy.cfg"
    both.write_bytes(tls.cert.read_bytes() + tls.key.read_bytes())
    file.write_text(site.replace("/etc/haproxy/tls/gateway.pem", str(both)))
    own(both)
    own(file)
    return (program("haproxy"), "-db", "-f", str(file))


class Sample(NamedTuple):
    """One of deploy/, how its proxy is started, and where the sample says what it listens on."""

    name: str
    setup: Setup
    listen: str


each_proxy = pytest.mark.parametrize(
    "sample",
    [
        Sample("nginx.conf", _nginx, "listen 443"),
        Sample("haproxy.cfg", _haproxy, "bind :443"),
    ],
    ids=lambda sample: sample.name,
)


@asynccontextmanager
async def _proxied(sample: Sample, ports: tuple[int, int]) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the sample's proxy before two API processes."""
    port = free_port()
    site, listen = (_DEPLOY / sample.name).read_text(), sample.listen
    own_listen = listen.replace(":443", f"127.0.0.1:{port}").replace(" 443", f" 127.0.0.1:{port}")
    for old, new in (
        (listen, own_listen),
        ("127.0.0.1:8001", f"127.0.0.1:{ports[0]}"),
        ("127.0.0.1:8002", f"127.0.0.1:{ports[1]}"),
    ):
        assert old in site
        site = site.replace(old, new)
    with folder_of_server() as folder:
        tls = issue(folder)
        command = sample.setup(folder, site, tls)
        with running(command, folder, lambda: listens(port)):
            async with httpx.AsyncClient(
                base_url=f"https://127.0.0.1:{port}",
                verify=ssl.create_default_context(cafile=tls.ca),
                timeout=_SECONDS,
            ) as client:
                await _until_it_answers(client)
                yield client


async def _until_it_answers(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(_SECONDS):
        while not (await client.get("/health/ready")).is_success:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)


class _Pair:
    """Two API processes, which can be replaced one after the other."""

    def __init__(self, database_url: str, stack: AsyncExitStack) -> None:
        self.ports = (free_port(), free_port())
        self._database_url = database_url
        self._stack = stack

    async def start(self, number: int) -> Api:
        settings = {"GATEWAY_DRAIN_DELAY_SECONDS": "3", "GATEWAY_MAX_WAIT_SECONDS": "2"}
        started = serving(self._database_url, settings, self.ports[number])
        return await self._stack.enter_async_context(started)


async def _stop(api: Api) -> None:
    api.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(_SECONDS):
        assert await api.process.wait() == 0


@asynccontextmanager
async def _pair(database_url: str) -> AsyncGenerator[tuple[_Pair, list[Api]]]:
    async with AsyncExitStack() as stack:
        pair = _Pair(database_url, stack)
        yield pair, [await pair.start(number) for number in range(2)]


@each_proxy
async def test_a_rolling_restart_fails_no_request(
    world: World, acme: str, database_url: str, sample: Sample
) -> None:
    async with (
        _pair(database_url) as (pair, apis),
        _proxied(sample, pair.ports) as client,
    ):
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
    assert await world.count(acme) == len(answers)


@each_proxy
async def test_what_callers_need_comes_through_and_the_rest_is_shut(
    world: World, acme: str, database_url: str, sample: Sample
) -> None:
    async with (
        _pair(database_url) as (pair, _),
        _proxied(sample, pair.ports) as client,
    ):
        key = {"Authorization": world.keys[acme]}
        made = await client.post("/v1/job?", headers={**key, "Prefer": "wait=60"}, json=GOOD)
        path = f"/v1/job/{made.json()['id']}"
        first = await client.get(path, headers=key)
        same = await client.get(path, headers={**key, "If-None-Match": first.headers["etag"]})
        waited = await client.get(f"{path}?wait=60", headers=key)
        large = await client.post("/v1/job", headers=key, content=b" " * 1_500_000)
        named = await client.get("/health/live", headers={"X-Request-Id": "mine"})
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
    assert named.headers["x-request-id"] == "mine"
    assert line == "retry: 2000"
    assert shut == [404] * 8


async def test_an_export_that_breaks_off_looks_so_through_nginx_as_it_is(
    world: World, acme: str, database_url: str
) -> None:
    """nginx asks over HTTP/1.0 unless it is told otherwise."""
    await fill(world, acme)
    port = free_port()
    async with serving(database_url) as api:
        site = _BARE_SITE.format(port=port, api=api.client.base_url.port)
        with folder_of_server() as folder:
            command = _nginx(folder, site, issue(folder))
            with (
                running(command, folder, lambda: listens(port)),
                pytest.raises(httpx.TransportError),
            ):
                await _read_while_it_dies(f"http://127.0.0.1:{port}", world.keys[acme], api)


async def _read_while_it_dies(root: str, key: str, api: Api) -> None:
    headers = {"Authorization": key}
    async with (
        httpx.AsyncClient(base_url=root, timeout=_SECONDS) as client,
        client.stream("GET", "/v1/job?format=ndjson", headers=headers) as answer,
    ):
        assert answer.is_success
        async for _ in answer.aiter_bytes():
            if api.process.returncode is None:
                api.process.send_signal(signal.SIGKILL)
                await api.process.wait()
