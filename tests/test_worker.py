"""The worker process: it tells of its health, and ends when it is told to."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from alembic import command

from tests.conftest import at_database, run_sql
from tests.e2e.outside import Worker, environment, until, working
from tests.project.test_migrations import config


@pytest.fixture
def url(unused_tcp_port: int) -> str:
    return f"http://127.0.0.1:{unused_tcp_port}"


@pytest.fixture
def worker(
    database_url: str, redis_url: str, unused_tcp_port: int, tmp_path: Path
) -> Iterator[Worker]:
    given = environment(database_url, redis_url, WORKER_PORT=str(unused_tcp_port))
    with working(given, tmp_path / "log") as process:
        yield process


async def started(worker: Worker) -> None:
    await until(lambda: b'"worker started"' in worker.log.read_bytes())


async def test_a_worker_shows_its_health_and_its_metrics(worker: Worker, url: str):
    await started(worker)
    async with httpx.AsyncClient(base_url=url) as client:
        live, ready = await client.get("/health/live"), await client.get("/health/ready")
        assert (live.status_code, live.json()) == (200, {"status": "ok"})
        assert (ready.status_code, ready.json()["status"]) == (200, "ok")
        assert (await client.get("/nothing")).status_code == 404
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
        for line in ("gw_build_info", "gw_database_up 1.0", "gw_redis_connected 1.0"):
            assert f"\n{line}" in metrics.text
        assert "gw_queue_due" not in metrics.text, "API processes tell of the whole gateway"
    assert worker.end() == 0
    assert [line["event"] for line in worker.lines()] == ["worker started", "worker stopped"]


async def test_a_worker_starts_and_stops_without_redis_and_postgres(
    unused_tcp_port: int, tmp_path: Path
):
    nowhere = f"127.0.0.1:{unused_tcp_port}"
    given = environment(f"postgresql://u@{nowhere}/d", f"redis://{nowhere}/0")
    with working(given, tmp_path / "log") as worker:
        await until(lambda: b"redis cannot be used" in worker.log.read_bytes())
        assert worker.process.poll() is None
        assert worker.end(signal.SIGINT) == 0
    assert worker.lines()[-1]["event"] == "worker stopped"


async def test_a_worker_without_postgres_lives_and_is_not_ready(
    redis_url: str, unused_tcp_port_factory: Callable[[], int], tmp_path: Path
):
    """So it is not restarted again and again, and a rolling update does not go on with it."""
    port, nowhere = unused_tcp_port_factory(), unused_tcp_port_factory()
    url = f"postgresql://u@127.0.0.1:{nowhere}/d"
    given = environment(url, redis_url, WORKER_PORT=str(port))
    with working(given, tmp_path / "log") as worker:
        await started(worker)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            live, ready = await client.get("/health/live"), await client.get("/health/ready")
            assert (live.status_code, ready.status_code) == (200, 503)
            assert ready.json()["status"] != "ok"
            assert "\ngw_database_up 0.0" in (await client.get("/metrics")).text
        assert worker.end() == 0


@pytest.fixture
def old_url(postgres: str) -> Iterator[str]:
    """A database with the schema of an earlier version."""
    run_sql(postgres, "DROP DATABASE IF EXISTS t_old WITH (FORCE)", "CREATE DATABASE t_old")
    url = at_database(postgres, "t_old")
    command.upgrade(config(url), "0011")
    yield url
    run_sql(postgres, "DROP DATABASE t_old WITH (FORCE)")


async def test_a_worker_on_an_older_schema_is_not_ready(
    old_url: str, redis_url: str, unused_tcp_port: int, tmp_path: Path
):
    given = environment(old_url, redis_url, WORKER_PORT=str(unused_tcp_port))
    with working(given, tmp_path / "log") as worker:
        await started(worker)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{unused_tcp_port}") as client:
            assert (await client.get("/health/live")).status_code == 200
            ready = await client.get("/health/ready")
            assert (ready.status_code, "schema" in ready.json()["status"]) == (503, True)
