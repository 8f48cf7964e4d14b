"""Real Postgres and Valkey for every test that asks: one of each a session, shared by all workers.

`GATEWAY_TEST_DATABASE_URL` (a superuser's) and `GATEWAY_TEST_REDIS_URL` name servers to use instead.
With `GATEWAY_TEST_PARTITIONS=1` the jobs of every test are in partitions by month.
"""

import asyncio
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis
import structlog
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
_configure = structlog.configure
# A slow or busy machine is no bug: property tests have no time limits of their own.
settings.register_profile("gateway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gateway")
# A shell starts what is to run in the background with SIGINT ignored, and children would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
_SESSION_PID = os.getppid() if _WORKER else os.getpid()
_TEMPLATE = "gateway_test_template"
_COVERED = ("gateway.core", "gateway.store", "gateway.flows")
# Together they reach all of it.
_MEASURED = ("adapters", "cli", "console", "core", "flows", "model", "simulator", "store", "web")
# Where single files take longest: they start processes, servers or compilers.
_LONG = frozenset(
    {"browser", "cli", "deploy", "e2e", "embedded", "faults", "model", "project", "real_servers"}
)
_LONG_FILE = "test_generated_clients.py"


@dataclass(frozen=True, slots=True)
class Shared:
    """The folder that all workers of this session see."""

    folder: Path

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Only one worker at a time is in the block."""
        with (self.folder / "turn").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def once(self, name: str, make: Callable[[Path], None]) -> str:
        """The content of a file that one worker makes for all."""
        file = self.folder / name
        with self.turn():
            if not file.exists():
                make(file)
        return file.read_text()


def _coverage(config: pytest.Config) -> Any:
    """The object that starts and stops measuring, or None in a run without `--cov`."""
    plugin: Any = config.pluginmanager.getplugin("_cov")
    return plugin and plugin.cov_controller


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Measure the imports of what must be covered whole, not the collection: it would take twice as long."""
    if coverage := _coverage(session.config):
        for package in map(import_module, _COVERED):
            for module in walk_packages(package.__path__, f"{package.__name__}."):
                import_module(module.name)
        coverage.pause()
    return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: _folder(item) not in _LONG and item.path.name != _LONG_FILE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Measure only the tests of what must be covered whole: it doubles the time they take."""
    coverage = _coverage(item.config)
    is_measured = any(item.path.is_relative_to(ROOT / "tests" / part) for part in _MEASURED)
    if not coverage or coverage.started == is_measured:
        return (yield)
    if is_measured:
        coverage.resume()
    else:
        coverage.pause()
    return (yield)


def _folder(item: pytest.Item) -> str:
    """The folder of tests that an item is in."""
    return item.path.relative_to(ROOT / "tests").parts[0]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    base = tmp_path_factory.getbasetemp()
    return Shared(base.parent if _WORKER else base)


def _start_servers(answer: Path) -> None:
    log = answer.with_suffix(".log")
    with log.open("w") as output:
        keeper = subprocess.Popen(
            (sys.executable, str(ROOT / "tests/servers.py"), str(answer), str(_SESSION_PID)),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    while not answer.exists():
        if keeper.poll() is not None:
            pytest.fail(f"The test servers did not start:\n{log.read_text()}", pytrace=False)
        time.sleep(0.02)
    keeper.returncode = 0  # it stays: keep Popen from warning that it is still running


@pytest.fixture(scope="session")
def postgres(shared: Shared) -> str:
    """The superuser's address of the database `postgres` on the session's server."""
    given = os.environ.get("GATEWAY_TEST_DATABASE_URL")
    return given or json.loads(shared.once("servers.json", _start_servers))["postgres"]


@pytest.fixture(scope="session")
def valkey(shared: Shared) -> str:
    """The address of logical database 0 on the session's server."""
    given = os.environ.get("GATEWAY_TEST_REDIS_URL")
    return given or json.loads(shared.once("servers.json", _start_servers))["redis"]


def at_database(url: str, name: str) -> str:
    """The same server's address, with another database."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def run_sql(url: str, *statements: str) -> None:
    """Run statements one by one, outside any transaction."""

    async def run() -> None:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


@pytest.fixture(scope="session")
def migrated_template(shared: Shared, postgres: str) -> str:
    """The name of a migrated database without rows, to be cloned; nobody may stay connected to it."""

    def make(answer: Path) -> None:
        run_sql(
            postgres,
            f"DROP DATABASE IF EXISTS {_TEMPLATE} WITH (FORCE)",
            f"CREATE DATABASE {_TEMPLATE}",
        )
        _migrate(at_database(postgres, _TEMPLATE))
        if os.environ.get("GATEWAY_TEST_PARTITIONS"):
            partitioned = import_module("tests.partitioned")  # not before coverage is measured
            asyncio.run(partitioned.partition_jobs(at_database(postgres, _TEMPLATE)))
        answer.write_text(_TEMPLATE)

    return shared.once("template", make)


def _migrate(url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, "head")


@pytest.fixture(scope="module")
def database_url(
    shared: Shared, postgres: str, migrated_template: str, request: pytest.FixtureRequest
) -> Iterator[str]:
    """A migrated database of this test module alone, empty when its first test begins."""
    module = re.sub(r"\W+", "_", request.node.nodeid.removesuffix(".py"))[-40:].lower()
    name = f"t_{module}_{_WORKER}"
    drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
    with shared.turn():  # a template that is being copied cannot be copied by another
        run_sql(postgres, drop, f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
    yield at_database(postgres, name)
    run_sql(postgres, drop)


@pytest.fixture
def redis_url(valkey: str) -> str:
    """A logical database of this worker alone, empty when the test begins."""
    url = at_database(valkey, _WORKER.removeprefix("gw") or "0")
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(autouse=True)
def logs_of_each_test_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What one test configures changes no logger of the next one, of any module."""

    def configure(**options: Any) -> None:
        _configure(**{**options, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", configure)
    yield
    structlog.reset_defaults()
