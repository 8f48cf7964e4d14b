"""Readiness says in one sentence why Postgres cannot be used."""

import socket
from dataclasses import replace

import pytest

from gateway.flows.health import readiness as module
from gateway.flows.health.readiness import readiness, readiness_of
from gateway.store.database import open_database
from gateway.store.migration import preflight
from tests.flows.world import World


async def test_a_database_that_can_be_used_is_ready(world: World) -> None:
    assert await readiness(world.deps) == ("ok", "")


async def test_a_server_that_is_away_is_named_by_its_cause(world: World) -> None:
    away = open_database("postgresql://nobody@127.0.0.1:1/none", pool=1, name="tests")
    deps = replace(world.deps, db=away)
    assert await readiness(deps) == ("database away", "connection refused")
    await away.close()


async def test_a_schema_that_is_behind_says_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "needed_revision", lambda: "9999")
    status, cause = await readiness(world.deps)
    assert status == "schema behind"
    assert cause.endswith("and 9999 is needed: run `gateway db upgrade`")


async def test_another_encoding_is_unfit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_ENCODING", "UTF9")
    assert await readiness(world.deps) == (
        "database unfit",
        "the database is encoded in UTF8, which cannot hold every text: it must be UTF9",
    )


async def test_a_database_that_is_silent_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        database = open_database(f"postgresql://nobody@127.0.0.1:{port}/none", pool=1, name="tests")
        found = await readiness_of(database, seconds=0.05)
        await database.close()
    assert found == ("database away", "no answer within a second")
