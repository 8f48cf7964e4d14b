"""Connections to Postgres: several hosts, poolers, certificates of the system."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from gateway.errors import Unavailable
from gateway.store.connection import connect
from gateway.store.connection.connect import GUARDS, PostgresConnector
from gateway.store.database import Database, open_database
from tests.store.pooler import Pooler


@asynccontextmanager
async def closing_port(calls: asyncio.Queue[int]) -> AsyncIterator[int]:
    """A port that closes each connection, and puts a number into `calls` for it."""

    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.put_nowait(1)
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def with_hosts(url: str, *hosts: str, **query: str) -> str:
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    given = "&".join(f"{name}={value}" for name, value in query.items())
    return parts._replace(netloc=f"{login}@{','.join(hosts)}", query=given).geturl()


def place_of(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


@asynccontextmanager
async def pool_of(url: str) -> AsyncIterator[Database]:
    database = open_database(url, pool=2, name="tests")
    yield database
    await database.close()


async def test_the_host_that_answered_is_tried_first_from_then_on(database_url: str) -> None:
    calls: asyncio.Queue[int] = asyncio.Queue()
    async with closing_port(calls) as dead:
        url = with_hosts(
            database_url, f"127.0.0.1:{dead}", place_of(database_url), sslmode="disable"
        )
        connector = PostgresConnector(url, "tests")
        for _ in range(3):
            session = await connector.connect()
            session.terminate()
    assert calls.qsize() == 1


async def test_a_host_that_did_not_answer_is_tried_last_the_next_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 0.3)
    release = asyncio.Event()

    async def be_silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    silent = await asyncio.start_server(be_silent, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent:
        url = with_hosts(
            database_url, f"127.0.0.1:{port}", place_of(database_url), sslmode="disable"
        )
        connector = PostgresConnector(url, "tests")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await connector.connect()
        monkeypatch.setattr(connect, "CONNECT_SECONDS", 5.0)
        session = await connector.connect()
        assert f"{session.host}" == place_of(database_url)
        session.terminate()
        release.set()


async def test_a_read_only_host_of_several_is_not_used(database_url: str) -> None:
    place = place_of(database_url)
    options = "-c%20default_transaction_read_only%3Don"
    async with pool_of(with_hosts(database_url, place, place, options=options)) as database:
        with pytest.raises(Unavailable) as failed:
            async with database.single() as tx:
                await tx.rows("SELECT 1")
    assert failed.value.cause.startswith("no server that takes changes")


async def test_the_url_may_set_the_time_to_connect(database_url: str) -> None:
    assert PostgresConnector(f"{database_url}?connect_timeout=7", "tests").seconds == 7


async def test_a_server_without_tls_is_named_as_the_cause(database_url: str) -> None:
    for query in ({"sslmode": "require"}, {"sslrootcert": "system"}):
        async with pool_of(with_hosts(database_url, place_of(database_url), **query)) as database:
            with pytest.raises(Unavailable) as failed:
                await database.open_ahead(1)
        assert failed.value.cause.startswith("TLS failed (")


async def test_each_transaction_sets_the_guards_behind_a_pooler(database_url: str) -> None:
    async with Pooler(database_url).running() as url, pool_of(url) as database:
        for use in (database.begin, database.single, lambda: database.of(uuid7())):
            async with use() as tx:
                shown = {name: (await tx.one(f"SHOW {name}"))[0] for name in GUARDS}
                assert shown == dict(GUARDS)
        async with database.single() as tx:
            assert [row[0] for row in await tx.rows("SELECT 7")] == [7]
            assert await tx.run("DELETE FROM tenant") == 0
            with pytest.raises(asyncpg.UndefinedFunctionError):
                await tx.rows("SELECT nonsense()")
            assert (await tx.one("SELECT 8"))[0] == 8
        with pytest.raises(Unavailable):
            async with database.single() as tx:
                await tx.rows("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_another_protocol_violation_is_not_taken_for_a_pooler(database_url: str) -> None:
    refusing = Pooler(database_url, refusal="no such protocol")
    async with refusing.running() as url, pool_of(url) as database:
        with pytest.raises(Unavailable) as failed:
            await database.open_ahead(1)
    assert failed.value.cause == "the server or a pooler refuses (no such protocol)"


async def test_a_pooler_without_prepared_statements_is_refused(database_url: str) -> None:
    old = Pooler(database_url, supports_statements=False)
    async with old.running() as url, pool_of(url) as database:
        with pytest.raises(Unavailable) as failed:
            await database.open_ahead(1)
    assert failed.value.cause.startswith(
        "the pooler in front of Postgres keeps no prepared statements"
    )
    assert "PgBouncer 1.21 or newer" in failed.value.cause
