import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.errors import DatabaseDenied, Unavailable
from gateway.store.migrate import (
    DatabaseRefusedError,
    newest_revision,
    present_revision,
    upgrade_schema,
)
from gateway.store.schema import metadata
from tests.conftest import at_database, run_sql

NAME = "t_store_migrate"


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """A database in which nothing was done yet."""
    drop = f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"
    run_sql(postgres, drop, f"CREATE DATABASE {NAME}")
    yield at_database(postgres, NAME)
    run_sql(postgres, drop)


def present(url: str) -> str | None:
    return asyncio.run(present_revision(url))


def drift(url: str) -> list[object]:
    """What a migration would still have to do."""

    def compare(connection: Connection) -> list[object]:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async def run() -> list[object]:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            found = await connection.run_sync(compare)
        await engine.dispose()
        return found

    return asyncio.run(run())


def test_an_empty_database_is_brought_to_the_newest_revision(empty: str) -> None:
    assert present(empty) is None
    upgrade_schema(empty)
    newest = newest_revision()
    assert newest is not None
    assert present(empty) == newest
    upgrade_schema(empty)
    assert present(empty) == newest_revision()


def test_the_migrations_make_the_tables_of_the_schema(empty: str) -> None:
    assert len(drift(empty)) >= len(metadata.tables)
    upgrade_schema(empty)
    assert drift(empty) == []


def test_a_database_without_a_revision_has_none(empty: str) -> None:
    upgrade_schema(empty)
    run_sql(empty, "DELETE FROM alembic_version")
    assert present(empty) is None


def test_a_refused_migration_says_why_and_changes_nothing(empty: str) -> None:
    run_sql(empty, "CREATE TABLE job (id int)")
    with pytest.raises(DatabaseRefusedError, match="already exists"):
        upgrade_schema(empty)
    assert present(empty) is None


def test_a_wrong_password_is_refused_and_not_told(postgres: str) -> None:
    password = urlsplit(postgres).password or ""
    with pytest.raises(DatabaseDenied) as refused:
        present(postgres.replace(password, "hunter2"))
    assert "password authentication failed" in refused.value.cause
    assert "hunter2" not in refused.value.cause


def test_a_server_that_is_away() -> None:
    with pytest.raises(Unavailable):
        present("postgresql+asyncpg://u:p@127.0.0.1:1/x")
