"""The official SDK, unmodified, does against the gateway what it does against the upstream."""

import asyncio
import base64
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.core.crypto.cipher import Secret
from gateway.core.model import KeyKind, Limits
from gateway.embedded import free_port
from gateway.flows.admin.access_keys import create_key
from gateway.flows.admin.tenants import create_tenant, put_credential
from gateway.runtime import open_deps
from gateway.settings import Settings
from tests.conformance.sdk import CHECKS, Target
from tests.simulator.process import Certificate, make_certificate, running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@contextmanager
def part(verb: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "gateway", verb]
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0


def wait_until_ready(api: str) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"{api}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the API did not become ready")


async def seed(settings: Settings, slugs: list[str]) -> dict[str, str]:
    """A tenant for each check, each with an upstream key of its own."""
    keys: dict[str, str] = {}
    async with open_deps(settings, "test") as deps:
        for slug in slugs:
            await create_tenant(deps, "test", slug=slug, name=slug, metadata="{}", limits=Limits())
            upstream_key = Secret(f"sim-{slug}")
            await put_credential(deps, "test", slug, api_key=upstream_key, base_url=None)
            _, keys[slug] = await create_key(
                deps, "test", kind=KeyKind.TENANT, tenant=slug, name="sdk"
            )
    return keys


@pytest.fixture(scope="module")
def gateway(
    database_url: str, valkey: str, certificate: Certificate
) -> Iterator[Callable[[str], tuple[str, str]]]:
    with ExitStack() as stack:
        simulator = stack.enter_context(running(certificate=certificate))
        environment = {
            "GATEWAY_ENV": "dev",
            "GATEWAY_DATABASE_URL": database_url,
            "GATEWAY_REDIS_URL": valkey,
            "GATEWAY_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
            "GATEWAY_UPSTREAM_URL": f"{simulator.api}/v1",
            "GATEWAY_PORT": str(free_port()),
            "GATEWAY_ALLOW_PRIVATE_CALLBACKS": "true",
            "GATEWAY_LOG_LEVEL": "warning",
            "GATEWAY_DRAIN_DELAY_SECONDS": "0",
        }
        fields = {name.removeprefix("GATEWAY_").lower(): v for name, v in environment.items()}
        slugs = [check.__name__.replace("_", "-") for check in CHECKS]
        keys = asyncio.run(seed(Settings(**fields), slugs))  # pyright: ignore[reportArgumentType]
        stack.enter_context(part("worker", environment))
        stack.enter_context(part("serve", environment))
        api = f"http://127.0.0.1:{environment['GATEWAY_PORT']}"
        wait_until_ready(api)
        yield lambda name: (f"{api}/v1", keys[name.replace("_", "-")])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_official_sdk(
    check: Callable[[Target], None],
    gateway: Callable[[str], tuple[str, str]],
    certificate: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.authority))
    base_url, key = gateway(check.__name__)

    check(Target(base_url, key, tmp_path))
