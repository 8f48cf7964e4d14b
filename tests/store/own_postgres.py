"""A separate cluster, for tests of roles and of moves from one cluster to another."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from alembic import command
from alembic.config import Config

from gateway.embedded import start_postgres
from gateway.embedded.postgres import Postgres
from gateway.store.migration.migrate import upgrade_schema
from tests.conftest import ROOT
from tests.servers import make_folder


@asynccontextmanager
async def own_postgres() -> AsyncIterator[Postgres]:
    """A server with an empty cluster."""
    folder = make_folder()
    try:
        async with start_postgres(folder / "postgres") as server:
            yield server
    finally:
        shutil.rmtree(folder)


async def make_login(server: Postgres, name: str, options: str = "", encoding: str = "UTF8") -> str:
    """Create a login that is no superuser, with a database; returns the URL."""
    await server.sql(
        f"CREATE ROLE {name} LOGIN PASSWORD 'secret' {options}",
        f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0 ENCODING '{encoding}'"
        " LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    return f"postgresql://{name}:secret@127.0.0.1:{server.port}/{name}"


async def sql(url: str, *statements: str) -> list[object]:
    """Run statements one by one; returns the first value of each."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return [await connection.fetchval(statement) for statement in statements]
    finally:
        await connection.close()


async def upgrade(url: str) -> None:
    """Upgrade the schema; raises DatabaseRefusedError, Unavailable."""
    await asyncio.to_thread(upgrade_schema, url)


async def downgrade(url: str, revision: str) -> None:
    """Downgrade the schema to a revision."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("sqlalchemy.url", url)
    await asyncio.to_thread(command.downgrade, config, revision)
