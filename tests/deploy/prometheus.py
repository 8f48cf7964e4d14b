"""A real Prometheus that scrapes every second and evaluates our rules without their waiting times."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from gateway.embedded import free_port
from tests.deploy.rules import RULES, program
from tests.faults.harness.waiting import until

_READY_SECONDS = 20.0


class Prometheus:
    """A server that is asked over HTTP."""

    def __init__(self, port: int, client: httpx.AsyncClient) -> None:
        self._root = f"http://127.0.0.1:{port}"
        self._client = client

    async def is_ready(self) -> bool:
        """Whether it answers queries."""
        try:
            return (await self._client.get(f"{self._root}/-/ready")).status_code == 200
        except httpx.HTTPError:
            return False

    async def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        answer = await self._ask("alerts")
        return {one["labels"]["alertname"] for one in answer["alerts"] if one["state"] == "firing"}

    async def query(self, expression: str) -> list[Any]:
        """The series of an instant query."""
        return (await self._ask("query", query=expression))["result"]

    async def _ask(self, what: str, **parameters: str) -> Any:
        answer = await self._client.get(f"{self._root}/api/v1/{what}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


def impatient_rules() -> str:
    """The rules, with each alert waiting for a second only."""
    text, count = re.subn(r"^( +for: ).*$", r"\g<1>1s", RULES.read_text(), flags=re.MULTILINE)
    assert count > 10
    return text


@asynccontextmanager
async def start_prometheus(
    folder: Path, targets: Sequence[str], client: httpx.AsyncClient
) -> AsyncGenerator[Prometheus]:
    """A Prometheus for the time of the block; the test is skipped where it is not installed."""
    executable, port = program("prometheus"), free_port()
    (folder / "rules.yaml").write_text(impatient_rules())
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    scraped = [{"job_name": "job-gateway", "static_configs": [{"targets": list(targets)}]}]
    config = {"global": every, "rule_files": ["rules.yaml"], "scrape_configs": scraped}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            executable,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        prometheus = Prometheus(port, client)
        await until(prometheus.is_ready, _READY_SECONDS)
        yield prometheus
    finally:
        process.terminate()
        await process.wait()
