"""The samples of deploy/proxies, started in front of two API processes."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.cli.commands import bare_environment, settings_for
from tests.deploy.tools import tool
from tests.faults.harness.fork_server import Child, ForkServer
from tests.faults.harness.fork_server_main import Order
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

SECONDS = 60
_PROXIES = Path(__file__).parents[2] / "deploy/proxies"
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
# No fixed port but the sample's, and no state outside of the folder.
_CADDY_GLOBAL = """\
{{
    admin unix/{folder}/admin.sock
    auto_https disable_redirects
    persist_config off
    storage file_system {folder}/state
}}
"""

# Writes the configuration into a folder, and says how the proxy is started.
Setup = Callable[[Path, str, Certificates], tuple[str, ...]]


class Sample(NamedTuple):
    """A file of deploy/proxies, how its proxy is started, and where it says what it listens on."""

    name: str
    setup: Setup
    listen: str
    # A part of the configuration that has a file of its own, put behind the first one here.
    routes: str | None = None


def write(file: Path, text: str) -> str:
    """A file that the proxy may read; its path."""
    file.write_text(text)
    own(file)
    return str(file)


def nginx(folder: Path, site: str, tls: Certificates) -> tuple[str, ...]:
    """A site of nginx; nothing else is in its configuration."""
    site = site.replace("/etc/nginx/tls/gateway.crt", str(tls.cert))
    site = site.replace("/etc/nginx/tls/gateway.key", str(tls.key))
    file = write(folder / "nginx.conf", _NGINX.format(folder=folder, site=site))
    return (program("nginx"), "-p", str(folder), "-c", file)


def _haproxy(folder: Path, site: str, tls: Certificates) -> tuple[str, ...]:
    both = write(folder / "gateway.pem", tls.cert.read_text() + tls.key.read_text())
    file = write(folder / "haproxy.cfg", site.replace("/etc/haproxy/tls/gateway.pem", both))
    return (program("haproxy"), "-db", "-f", file)


def _caddy(folder: Path, site: str, tls: Certificates) -> tuple[str, ...]:
    site = site.replace("/etc/caddy/tls/gateway.crt", str(tls.cert))
    site = site.replace("/etc/caddy/tls/gateway.key", str(tls.key))
    file = write(folder / "Caddyfile", _CADDY_GLOBAL.format(folder=folder) + site)
    return (tool("caddy"), "run", "--config", file, "--adapter", "caddyfile")


def _traefik(folder: Path, site: str, tls: Certificates) -> tuple[str, ...]:
    start, _, routes = site.partition(_CUT)
    routes = routes.replace("/etc/traefik/tls/gateway.crt", str(tls.cert))
    routes = routes.replace("/etc/traefik/tls/gateway.key", str(tls.key))
    routes_file = write(folder / "gateway.yaml", routes)
    start = start.replace("/etc/traefik/gateway.yaml", routes_file)
    return (tool("traefik"), f"--configFile={write(folder / 'traefik.yaml', start)}")


_CUT = "\n# ---- the routes ----\n"
SAMPLES = (
    Sample("nginx.conf", nginx, "listen 443"),
    Sample("haproxy.cfg", _haproxy, "bind :443"),
    Sample("Caddyfile", _caddy, ":443 {"),
    Sample("traefik/traefik.yaml", _traefik, 'address: ":443"', "traefik/gateway.yaml"),
)


def _configuration(sample: Sample, port: int, apis: tuple[int, int]) -> str:
    site = (_PROXIES / sample.name).read_text()
    if sample.routes is not None:
        site += _CUT + (_PROXIES / sample.routes).read_text()
    own_listen = sample.listen.replace(":443", f"127.0.0.1:{port}")
    own_listen = own_listen.replace(" 443", f" 127.0.0.1:{port}")
    for old, new in (
        (sample.listen, own_listen),
        ("127.0.0.1:8001", f"127.0.0.1:{apis[0]}"),
        ("127.0.0.1:8002", f"127.0.0.1:{apis[1]}"),
    ):
        assert old in site
        site = site.replace(old, new)
    return site


@asynccontextmanager
async def proxied(sample: Sample, apis: tuple[int, int]) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the sample's proxy before two API processes."""
    port = free_port()
    site = _configuration(sample, port, apis)
    with folder_of_server() as folder:
        tls = issue(folder)
        command = sample.setup(folder, site, tls)
        with running(command, folder, lambda: listens(port)):
            async with httpx.AsyncClient(
                base_url=f"https://127.0.0.1:{port}",
                verify=ssl.create_default_context(cafile=tls.ca),
                timeout=SECONDS,
            ) as client:
                await _until_it_answers(client)
                yield client


async def _until_it_answers(client: httpx.AsyncClient, child: Child | None = None) -> None:
    """Traefik listens before it has read its certificate and its routes."""
    async with asyncio.timeout(SECONDS):
        while child is None or child.alive:
            with suppress(httpx.ConnectError):
                if (await client.get("/health/ready")).is_success:
                    return
            await asyncio.sleep(0.1)
    pytest.fail("the API process ended")


class Pair:
    """Two API processes, which can be replaced one after the other."""

    def __init__(self, fork_server: ForkServer, database_url: str, log: Path) -> None:
        self.ports = (free_port(), free_port())
        self._fork_server = fork_server
        self._database_url = database_url
        self._log = log
        self._started: list[Child] = []

    async def start(self, number: int) -> Child:
        """One of the two, ready."""
        port = str(self.ports[number])
        env = {
            **bare_environment(),
            **settings_for(self._database_url),
            "GATEWAY_PORT": port,
            "GATEWAY_DRAIN_DELAY_SECONDS": "3",
            "GATEWAY_MAX_WAIT_SECONDS": "2",
        }
        child = await self._fork_server.start(Order(role="serve", log=str(self._log), env=env))
        self._started.append(child)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await _until_it_answers(client, child)
        return child

    async def start_both(self) -> list[Child]:
        """Both of them, ready."""
        return [await self.start(number) for number in range(2)]

    async def end(self) -> None:
        """Kill what still runs."""
        for child in self._started:
            if child.alive:
                await child.kill()
