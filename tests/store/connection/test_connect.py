"""The one way to connect: several hosts, poolers, certificates of the system."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from gateway.errors import Unavailable
from gateway.store.connection import connect
from gateway.store.connection.connect import GUARDS, PostgresConnector, PostgresSession
from gateway.store.database import Database, open_database

_REFUSAL = b"SFATAL\0C08P01\0Munsupported startup parameter: jit\0\0"


@asynccontextmanager
async def listening(
    serve: "asyncio.Queue[int] | None" = None, upstream: tuple[str, int] | None = None
) -> AsyncIterator[int]:
    """A port that hangs up at once; with `upstream`, one that passes on what has no `jit` in it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if serve is not None:
            serve.put_nowait(1)
        try:
            if upstream is not None:
                await _pass_on(reader, writer, upstream)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.sleep(0.05)  # for what is passed on to end with its connections


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: tuple[str, int]
) -> None:
    length = await reader.readexactly(4)
    first = length + await reader.readexactly(int.from_bytes(length) - 4)
    if b"jit" in first:
        writer.write(b"E" + (len(_REFUSAL) + 4).to_bytes(4) + _REFUSAL)
        await writer.drain()
        return
    there, away = await asyncio.open_connection(*upstream)
    away.write(first)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)

    copies = [asyncio.create_task(copy(reader, away)), asyncio.create_task(copy(there, writer))]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in copies:
            one.cancel()
        away.close()


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


async def test_the_host_that_answers_is_asked_first_from_then_on(database_url: str) -> None:
    calls: asyncio.Queue[int] = asyncio.Queue()
    async with listening(calls) as dead:
        url = with_hosts(
            database_url, f"127.0.0.1:{dead}", place_of(database_url), sslmode="disable"
        )
        connector = PostgresConnector(url, "tests")
        for _ in range(3):
            session = await connector.connect()
            session.terminate()
    assert calls.qsize() == 1


async def test_a_host_that_is_silent_is_asked_last_by_the_next_one(
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


async def test_of_several_hosts_none_that_takes_no_changes_will_do(database_url: str) -> None:
    place = place_of(database_url)
    options = "-c%20default_transaction_read_only%3Don"
    async with pool_of(with_hosts(database_url, place, place, options=options)) as database:
        with pytest.raises(Unavailable) as failed:
            async with database.single() as tx:
                await tx.rows("SELECT 1")
    assert failed.value.cause.startswith("no server that takes changes")


async def test_the_longest_time_to_connect_is_the_url_s(database_url: str) -> None:
    assert PostgresConnector(f"{database_url}?connect_timeout=7", "tests").seconds == 7


async def test_a_server_that_speaks_no_tls_says_so(database_url: str) -> None:
    for query in ({"sslmode": "require"}, {"sslrootcert": "system"}):
        async with pool_of(with_hosts(database_url, place_of(database_url), **query)) as database:
            with pytest.raises(Unavailable) as failed:
                await database.open_ahead(1)
        assert failed.value.cause.startswith("TLS failed (")


async def test_where_startup_parameters_are_refused_each_transaction_sets_them(
    database_url: str,
) -> None:
    parts = urlsplit(database_url)
    async with listening(upstream=(str(parts.hostname), parts.port or 0)) as port:
        url = with_hosts(database_url, f"127.0.0.1:{port}", sslmode="disable")
        async with pool_of(url) as database:
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


async def test_another_breach_of_protocol_is_no_pooler(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "_REFUSED_PARAMETER", "something else")
    async with listening(upstream=("127.0.0.1", 1)) as port:
        url = with_hosts(database_url, f"127.0.0.1:{port}", sslmode="disable")
        async with pool_of(url) as database:
            with pytest.raises(Unavailable) as failed:
                await database.open_ahead(1)
    assert failed.value.cause == (
        "the server or a pooler refuses (unsupported startup parameter: jit)"
    )


async def test_a_pooler_without_prepared_statements_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresSession, "get_server_pid", lambda _: -1)
    async with pool_of(database_url) as database:
        with pytest.raises(Unavailable) as failed:
            await database.open_ahead(1)
    assert failed.value.cause.startswith(
        "the pooler in front of Postgres keeps no prepared statements"
    )
    assert "PgBouncer 1.21 or newer" in failed.value.cause
