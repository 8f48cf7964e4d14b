"""The image as it runs in production: `make image-test` builds it, which takes minutes."""

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest

from gateway import __version__
from gateway.embedded import free_port
from tests.cli.commands import settings_for
from tests.deploy.containers import BASE, NAME, Containers, build_base, build_image, containers
from tests.real_servers.process import NEWER

pytestmark = pytest.mark.timeout(1800)

_MEGABYTE = 1_000_000
_SECONDS = 60
_GRACE_SECONDS = "30"  # stop_grace_period of deploy/compose.yaml


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """With the image built."""
    found = containers(tmp_path_factory.mktemp("containers"))
    build_base(found, NEWER / "trixie-python.tar")
    build_image(found)
    yield found
    # The layers belong to mounts that pytest could not remove.
    found.run("buildah", "rm", "--all")
    found.run("buildah", "rmi", "--all", "--force")


def test_it_is_small_and_says_what_it_is(tools: Containers) -> None:
    image, base = tools.inspect("image", NAME), tools.inspect("image", BASE)
    labels = image["Config"]["Labels"]
    assert image["Size"] - base["Size"] < 190 * _MEGABYTE
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == "0123abc"
    assert labels["org.opencontainers.image.base.name"] == BASE
    assert image["Healthcheck"]["Test"] == ["CMD", "gateway", "health"]


def test_it_has_no_rights_and_no_place_to_write(tools: Containers) -> None:
    said = tools.python(
        "import json, os, tempfile\n"
        "status = dict(line.split(':\\t') for line in open('/proc/self/status') if ':\\t' in line)\n"
        "def writes(path):\n"
        "    try: open(path, 'w')\n"
        "    except OSError: return False\n"
        "    return True\n"
        "print(json.dumps([os.getuid(), os.getgid(), status['CapBnd'].strip('0\\n'),"
        " status['NoNewPrivs'].strip(), writes('/x'), writes('/gateway/x')]))"
    )
    assert json.loads(said) == [10001, 10001, "", "1", False, False]


def test_nothing_that_it_lacks_is_loaded(tools: Containers) -> None:
    """psutil is of the extra `embedded`, for `gateway dev` only."""
    said = tools.python(
        "import importlib.util, pkgutil, gateway\n"
        "print(importlib.util.find_spec('faker'), importlib.util.find_spec('pip'))\n"
        "for module in pkgutil.walk_packages(gateway.__path__, 'gateway.', lambda name: None):\n"
        "    if module.name.startswith('gateway.migrations.'): continue\n"
        "    try: __import__(module.name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        if error.name != 'psutil': raise\n"
    )
    assert said.split() == ["None", "None"]


async def test_its_processes_are_healthy_and_stop_by_themselves(
    tools: Containers, database_url: str, redis_url: str
) -> None:
    """Both stop with 0 within the time that Compose gives them: nobody kills them."""
    api_port, worker_port = str(free_port()), str(free_port())
    settings = settings_for(database_url, redis_url)
    of_api = settings | {"GATEWAY_PORT": api_port}
    of_worker = settings | {"GATEWAY_WORKER_PORT": worker_port}
    with (
        tools.process("gateway-api", "serve", of_api) as api,
        tools.process("gateway-worker", "worker", of_worker) as worker,
    ):
        await _until_ready(api_port)
        await _until_ready(worker_port)
        for name in (api, worker):
            tools.run("podman", "healthcheck", "run", name)
        for name in (api, worker):
            tools.run("podman", "stop", "--time", _GRACE_SECONDS, name)
            assert tools.inspect("container", name)["State"]["ExitCode"] == 0


async def _until_ready(port: str) -> None:
    async with asyncio.timeout(_SECONDS), httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(f"http://127.0.0.1:{port}/health/ready")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.2)
