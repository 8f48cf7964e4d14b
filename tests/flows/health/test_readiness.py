"""Readiness says in one sentence why Postgres cannot be used."""

import asyncio
import socket

from gateway.flows.health.readiness import readiness, readiness_of
from gateway.store.database import open_database
from tests.conftest import at_database, run_sql
from tests.flows.database_faults import older_schema, without_database
from tests.flows.world import World

NAME = "t_flows_readiness"


async def test_a_database_that_can_be_used_is_ready(world: World) -> None:
    assert await readiness(world.deps) == ("ok", "")


async def test_a_server_that_refuses_connections_is_named_by_its_cause(world: World) -> None:
    async with without_database(world.deps) as deps:
        assert await readiness(deps) == ("database away", "connection refused")


async def test_a_schema_that_is_behind_says_what_to_do(world: World) -> None:
    async with older_schema(world, "0001") as newest:
        assert await readiness(world.deps) == (
            "schema behind",
            f"the schema is at 0001, and {newest} is needed: run `gateway db upgrade`",
        )


async def test_a_database_with_another_encoding_is_unfit(postgres: str) -> None:
    drop = f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"
    create = (
        f"CREATE DATABASE {NAME} TEMPLATE template0 ENCODING 'SQL_ASCII'"
        " LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    await asyncio.to_thread(run_sql, postgres, drop, create)
    database = open_database(at_database(postgres, NAME), pool=1, name="tests")
    assert await readiness_of(database, seconds=20) == (
        "database unfit",
        "the database is encoded in SQL_ASCII, which cannot hold every text: it must be UTF8",
    )
    await database.close()
    await asyncio.to_thread(run_sql, postgres, drop)


async def test_a_database_that_is_silent_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        database = open_database(f"postgresql://nobody@127.0.0.1:{port}/none", pool=1, name="tests")
        found = await readiness_of(database, seconds=0.05)
        await database.close()
    assert found == ("database away", "no answer within a second")
