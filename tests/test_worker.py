"""The worker process: it tells of its health, and ends when it is told to."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.outside import Worker, environment, until, working


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
        health = await client.get("/health")
        assert (health.status_code, health.json()) == (200, {"status": "ok"})
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "gw_build_info" in metrics.text
    assert worker.end() == 0
    assert [line["event"] for line in worker.lines()] == ["worker started", "worker stopped"]


async def test_a_worker_starts_and_stops_without_redis_and_postgres(
    unused_tcp_port: int, tmp_path: Path
):
    nowhere = f"127.0.0.1:{unused_tcp_port}"
    given = environment(f"postgresql://u@{nowhere}/d", f"redis://{nowhere}/0")
    with working(given, tmp_path / "log") as worker:
        await until(lambda: b"redis is away" in worker.log.read_bytes())
        assert worker.process.poll() is None
        assert worker.end(signal.SIGINT) == 0
    assert worker.lines()[-1]["event"] == "worker stopped"
