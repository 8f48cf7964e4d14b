"""`gateway serve` with a standby, directly and through PgBouncer: what it logs and counts, and who answers."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.store.migration.migrate import upgrade_schema
from tests.cli.commands import bare_environment, run, settings_for
from tests.real_servers.postgres import RealPostgres, make_owner, pgbouncer
from tests.real_servers.process import NEWER, free_port
from tests.real_servers.replication.replica_scene import JOBS, LOGIN, Servers
from tests.real_servers.replication.standby import standby_of

pytestmark = pytest.mark.timeout(180)

_SECONDS = 30.0


@pytest.fixture
def servers(server: RealPostgres) -> Iterator[Servers]:
    with standby_of(server) as standby:
        yield Servers(server, standby)


@pytest.fixture(scope="module")
def url(server: RealPostgres) -> str:
    """The primary, for a plain owner whose statements both servers log."""
    made = make_owner(server, LOGIN)
    upgrade_schema(made)
    server.sql(f"ALTER ROLE {LOGIN} SET log_statement = 'all'")
    return made


@pytest.fixture
def key(url: str) -> str:
    """A service key, which reads the jobs of all tenants."""
    return run("key", "create", "--service", "--name", "reader", env=settings_for(url)).stdout


@contextmanager
def serving(url: str, replica: str, log: Path) -> Iterator[httpx.Client]:
    """An API process, ended in order with the block."""
    port = free_port()
    ours = {**settings_for(url), "GATEWAY_READ_DATABASE_URL": replica}
    settings = {"GATEWAY_PORT": str(port), "GATEWAY_DRAIN_DELAY_SECONDS": "0"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            (sys.executable, "-m", "gateway", "serve"),
            env={**bare_environment(), **ours, **settings},
            stdout=output,
            stderr=output,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            _until(lambda: _status(client) == 200)
            yield client
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def _status(client: httpx.Client) -> int:
    try:
        return client.get("/health/ready").status_code
    except httpx.TransportError:
        return 0


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def _in_use(client: httpx.Client) -> bool:
    return "gw_replica_in_use 1.0" in client.get("/metrics").text


@pytest.mark.parametrize("way", ["direct", "pooled"])
def test_a_process_reads_from_the_standby_and_goes_on_without_it(
    url: str, key: str, servers: Servers, tmp_path: Path, way: str
) -> None:
    if way == "direct":
        _serve_and_kill(url, key, servers, servers.url, tmp_path / "log")
        return
    if not (NEWER / "pgbouncer").exists():
        pytest.skip("there is no PgBouncer 1.21 or newer here")
    with pgbouncer(servers.standby, str(NEWER / "pgbouncer"), LOGIN) as pooled:
        _serve_and_kill(url, key, servers, pooled, tmp_path / "log")


def _serve_and_kill(url: str, key: str, servers: Servers, replica: str, log: Path) -> None:
    with serving(url, replica, log) as client:
        client.headers["Authorization"] = key.strip()
        _until(lambda: _in_use(client))
        assert "gw_replica_lag_seconds " in client.get("/metrics").text
        servers.forget()
        assert client.get("/v1/job").status_code == 200
        assert servers.who_answered(JOBS) == {"standby"}
        servers.standby.stop()
        assert [client.get("/v1/job").status_code for _ in range(20)] == [200] * 20
        assert servers.who_answered(JOBS) == {"primary"}
        assert not _in_use(client)
        assert _status(client) == 200
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = [(one["level"], one["event"]) for one in lines if "replica" in one]
    assert told == [
        ("info", "history is read from the replica"),
        ("warning", "history is read from the primary, not the replica"),
    ]
