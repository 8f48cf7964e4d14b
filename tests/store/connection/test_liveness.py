"""A slow statement is waited for; a connection on a dead link is cut."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from gateway.errors import Unavailable
from gateway.store.connection import liveness
from gateway.store.connection.connect import PostgresConnector
from gateway.store.database import Database, open_database
from tests.faults.harness.proxy import Proxy, proxied


@pytest.fixture
async def link(database_url: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(database_url)
    async with proxied(str(parts.hostname), parts.port or 5432) as proxy:
        yield proxy


@pytest.fixture
async def far(
    database_url: str, link: Proxy, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Database]:
    """A pool behind the link that probes it after a few milliseconds."""
    monkeypatch.setattr(liveness, "_SUSPICIOUS_SECONDS", 0.02)
    monkeypatch.setattr(liveness, "_AGAIN_SECONDS", 0.02)
    parts = urlsplit(database_url)
    place = parts.netloc.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{link.port}")
    url = parts._replace(scheme="postgresql+asyncpg", netloc=place).geturl()
    database = open_database(url, pool=3, name="far")
    yield database
    await database.close()


async def sleep(database: Database, seconds: float) -> None:
    async with database.single() as tx:
        await tx.row("SELECT pg_sleep($1)", seconds)


async def test_a_slow_statement_on_a_working_link_is_waited_for(far: Database) -> None:
    await sleep(far, 0.3)


async def test_statements_on_a_silent_link_fail_until_it_works_again(
    far: Database, link: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "_ANSWER_SECONDS", 0.2)
    await asyncio.gather(*(sleep(far, 0.0) for _ in range(3)))
    link.stall()
    ends = await asyncio.gather(*(sleep(far, 60.0) for _ in range(3)), return_exceptions=True)
    assert [type(end) for end in ends] == [Unavailable] * 3
    link.heal()
    await sleep(far, 0.0)


async def test_a_statement_fails_when_its_link_is_cut(far: Database, link: Proxy) -> None:
    sleeping = asyncio.create_task(sleep(far, 60.0))
    await asyncio.sleep(0.1)
    link.cut()
    with pytest.raises(Unavailable):
        await sleeping


async def test_a_statement_that_ends_during_a_probe_is_not_cut_off(
    far: Database, link: Proxy
) -> None:
    await sleep(far, 0.0)
    link.delay = 0.05
    await sleep(far, 0.0)
    await sleep(far, 0.0)


async def test_a_server_without_a_free_connection_is_alive_and_one_that_starts_is_not(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([asyncpg.TooManyConnectionsError("full"), asyncpg.CannotConnectNowError("bye")])

    async def probe(_: PostgresConnector, __: object) -> None:
        raise next(answers)

    monkeypatch.setattr(PostgresConnector, "probe", probe)
    monitor = liveness.LinkMonitor(PostgresConnector(database_url, "tests"))
    assert await monitor.is_alive(None)
    assert not await monitor.is_alive(None)
