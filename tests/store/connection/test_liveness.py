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

FULL = "t_store_liveness"
STARTING = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"


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


async def test_a_slow_statement_on_a_working_link_is_waited_for(far: Database, link: Proxy) -> None:
    await sleep(far, 0.0)
    before = link.accepted
    await sleep(far, 0.3)
    assert link.accepted > before, "nobody asked whether the link works"


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
    before = link.accepted
    link.delay = 0.05
    await sleep(far, 0.0)
    assert link.accepted > before, "it ended before a probe had begun"
    await sleep(far, 0.0)


async def test_a_server_without_a_free_connection_is_alive(db: Database, database_url: str) -> None:
    async with db.single() as tx:
        await tx.rows(f"DROP ROLE IF EXISTS {FULL}")
        await tx.rows(f"CREATE ROLE {FULL} LOGIN PASSWORD 'secret' CONNECTION LIMIT 0")
    try:
        parts = urlsplit(database_url)
        netloc = f"{FULL}:secret@{parts.netloc.rpartition('@')[2]}"
        connector = PostgresConnector(parts._replace(netloc=netloc).geturl(), "tests")
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await connector.probe(connector.url.hosts[0])
        assert await liveness.LinkMonitor(connector).is_alive(connector.url.hosts[0])
    finally:
        async with db.single() as tx:
            await tx.rows(f"DROP ROLE {FULL}")


async def test_a_server_that_starts_is_not_alive() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(4))
        await reader.readexactly(length - 4)
        writer.write(b"E" + (len(STARTING) + 4).to_bytes(4) + STARTING)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://nobody@127.0.0.1:{port}/none?sslmode=disable"
        connector = PostgresConnector(url, "tests")
        with pytest.raises(asyncpg.CannotConnectNowError):
            await connector.probe(connector.url.hosts[0])
        assert not await liveness.LinkMonitor(connector).is_alive(connector.url.hosts[0])
