"""Real faults of the database, each for the time of a block."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from gateway.flows.deps import Deps
from gateway.store.database import open_database
from tests.faults.harness.proxy import Proxy, proxied
from tests.flows.world import World

_REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = TG_ARGV[1];
END $$"""


@asynccontextmanager
async def refused_writes(
    world: World, table: str, sqlstate: str, message: str = ""
) -> AsyncGenerator[None]:
    """The server refuses each write to a table with this SQLSTATE and message."""
    await world.rows(_REFUSE)
    await world.rows(
        f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW"
        f" EXECUTE FUNCTION refuse('{message}', '{sqlstate}')"
    )
    try:
        yield
    finally:
        await world.rows("DROP FUNCTION refuse CASCADE")


@asynccontextmanager
async def older_schema(world: World, revision: str = "0001") -> AsyncGenerator[str]:
    """The schema is at an old revision; yields the revision that it had."""
    newest = await world.value("SELECT version_num FROM alembic_version")
    await world.run("UPDATE alembic_version SET version_num = $1", revision)
    try:
        yield newest
    finally:
        await world.run("UPDATE alembic_version SET version_num = $1", newest)


@asynccontextmanager
async def without_database(deps: Deps) -> AsyncGenerator[Deps]:
    """The same process with a server that refuses connections."""
    database = open_database("postgresql://nobody@127.0.0.1:1/none", pool=1, name="tests")
    yield replace(deps, db=database)
    await database.close()


@asynccontextmanager
async def behind_proxy(deps: Deps, database_url: str) -> AsyncGenerator[tuple[Deps, Proxy]]:
    """The same process with a link to the database that can be broken."""
    parts = urlsplit(database_url)
    async with proxied(str(parts.hostname), parts.port or 5432) as proxy:
        login = parts.netloc.rpartition("@")[0]
        url = parts._replace(netloc=f"{login}@127.0.0.1:{proxy.port}").geturl()
        database = open_database(url, pool=1, name="tests")
        yield replace(deps, db=database), proxy
        await database.close()
