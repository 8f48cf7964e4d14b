"""Two servers of one cluster that both take changes: after a failover only one of them is the primary."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.embedded import start_postgres
from gateway.embedded.postgres import Postgres
from gateway.store import database
from gateway.store.connection import timelines
from gateway.store.connection.connect import PostgresConnector
from gateway.store.connection.failure_causes import FormerPrimaryError, cause_of
from gateway.store.database import Database, open_database
from tests.servers import make_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "_LOOK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(database, "_LOOK_SECONDS", 0.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folders() -> AsyncIterator[tuple[Path, Path]]:
    """The data of a server, and a copy that starts as a standby."""
    folder = make_folder()
    former, present = folder / "former", folder / "present"
    async with start_postgres(former) as server:
        await server.sql(
            "CREATE ROLE plain LOGIN PASSWORD 'secret'",
            "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC",
        )
    copy = await asyncio.create_subprocess_exec("cp", "-a", str(former), str(present))
    assert await copy.wait() == 0
    (present / "data/standby.signal").touch()
    yield former, present
    shutil.rmtree(folder)


def url_of(*servers: Postgres, login: str = "", **query: str) -> str:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    given = "&".join(f"{name}={value}" for name, value in query.items())
    user = login or f"postgres:{servers[0].password}"
    return f"postgresql://{user}@{hosts}/postgres?{given}"


async def port_of(connector: PostgresConnector) -> int:
    """Where a new connection leads."""
    session = await connector.connect()
    session.terminate()
    assert session.host is not None
    return session.host.port


async def port_in(pool: Database) -> int:
    """Where a connection of the pool leads, by what the server says."""
    async with pool.single() as tx:
        return (await tx.one("SELECT inet_server_port() AS port")).port


async def test_the_server_that_was_promoted_last_is_used(folders: tuple[Path, Path]) -> None:
    async with start_postgres(folders[0]) as former:
        async with start_postgres(folders[1]) as present:
            running = PostgresConnector(url_of(former, present), "tests")
            pool = open_database(url_of(former, present), pool=2, name="tests")
            await pool.open_ahead(2)
            assert await port_of(running) == former.port  # the other one is a standby
            await present.sql("SELECT pg_promote()")
            fresh = PostgresConnector(url_of(former, present, connect_timeout="5"), "tests")
            for connector in (running, fresh):
                assert await port_of(connector) == present.port
            # Connections that are open lead to the new primary as well, once the process has looked.
            assert await port_in(pool) == former.port
            await asyncio.sleep(0.5)
            assert await port_in(pool) == present.port
            await pool.close()
            # Who wants any server gets the first one, and so does a login that may not ask.
            anyone = url_of(former, present, target_session_attrs="any")
            assert await port_of(PostgresConnector(anyone, "tests")) == former.port
            plain = url_of(former, present, login="plain:secret")
            assert await port_of(PostgresConnector(plain, "tests")) == former.port
        # It is not used again when the new primary ends either.
        with pytest.raises(FormerPrimaryError) as refused:
            await running.connect()
    cause = cause_of(refused.value)
    assert cause is not None
    assert cause.text == "a former primary (another server was promoted after it)"


async def test_a_host_that_does_not_answer_leaves_time_for_the_other(database_url: str) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent:
        login, at, place = database_url.partition("://")[2].rpartition("@")
        port = silent.sockets[0].getsockname()[1]
        connector = PostgresConnector(f"postgresql://{login}{at}127.0.0.1:{port},{place}", "tests")
        async with asyncio.timeout(1.6):  # a caller waits for 1.8 s
            assert await port_of(connector) != port
