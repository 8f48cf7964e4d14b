import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.errors import DatabaseDenied, Unavailable
from gateway.store.migration import migration_lock
from gateway.store.migration.migrate import (
    DatabaseRefusedError,
    downgrade_schema,
    newest_revision,
    present_revision,
    upgrade_schema,
)
from gateway.store.migration.revisions import known_revisions
from gateway.store.schema import metadata
from tests.conftest import at_database, run_sql

NAME = "t_store_migrate"


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """An empty database."""
    drop = f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"
    run_sql(postgres, drop, f"CREATE DATABASE {NAME}")
    yield at_database(postgres, NAME)
    run_sql(postgres, drop)


def present(url: str) -> str | None:
    return asyncio.run(present_revision(url))


def drift(url: str) -> list[object]:
    """The differences between the tables of the code and those of a database."""

    def compare(connection: Connection) -> list[object]:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async def run() -> list[object]:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            found = await connection.run_sync(compare)
        await engine.dispose()
        return found

    return asyncio.run(run())


def test_an_upgrade_takes_an_empty_database_to_the_newest_revision(empty: str) -> None:
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


def test_an_empty_table_of_revisions_means_no_revision(empty: str) -> None:
    upgrade_schema(empty)
    run_sql(empty, "DELETE FROM alembic_version")
    assert present(empty) is None


def test_a_refused_migration_says_why_and_changes_nothing(empty: str) -> None:
    run_sql(empty, "CREATE TABLE job (id int)")
    with pytest.raises(DatabaseRefusedError, match="already exists"):
        upgrade_schema(empty)
    assert present(empty) is None


# --- Versions beside each other -----------------------------------------------------------------


def test_a_schema_that_is_newer_than_the_code_is_left_as_it_is(empty: str) -> None:
    upgrade_schema(empty)
    run_sql(empty, "UPDATE alembic_version SET version_num = '9999'")
    upgrade_schema(empty)
    assert present(empty) == "9999"
    with pytest.raises(DatabaseRefusedError, match="9999, which this version does not know"):
        downgrade_schema(empty, known_revisions()[-2])
    assert present(empty) == "9999"


def test_a_revision_of_something_else_is_refused(empty: str) -> None:
    upgrade_schema(empty)
    run_sql(empty, "UPDATE alembic_version SET version_num = '00ff'")
    with pytest.raises(DatabaseRefusedError, match="00ff, which this version does not know"):
        upgrade_schema(empty)
    assert present(empty) == "00ff"


def test_an_upgrade_that_waited_for_a_newer_version_leaves_its_schema(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_lock, "_SILENT_SECONDS", 0.1)
    upgrade_schema(empty)
    run_sql(empty, f"UPDATE alembic_version SET version_num = '{known_revisions()[-2]}'")

    def finish(_: str) -> None:
        change = "UPDATE alembic_version SET version_num = '9999'"
        other = threading.Thread(target=run_sql, args=(empty, change))
        other.start()
        other.join()
        done.set()

    with holding(empty, f"SELECT pg_advisory_lock({migration_lock.LOCK})") as done:
        upgrade_schema(empty, finish)
    assert present(empty) == "9999"


def test_a_downgrade_takes_back_to_a_revision_and_no_further(empty: str) -> None:
    upgrade_schema(empty)
    *_, below, newest = known_revisions()
    downgrade_schema(empty, newest)
    assert present(empty) == newest
    downgrade_schema(empty, below)
    assert present(empty) == below
    for higher in (newest, below):
        downgrade_schema(empty, higher)
        assert present(empty) == below
    upgrade_schema(empty)
    assert drift(empty) == []


def test_a_wrong_password_is_named_as_the_cause_and_not_shown(postgres: str) -> None:
    password = urlsplit(postgres).password or ""
    with pytest.raises(DatabaseDenied) as refused:
        present(postgres.replace(password, "hunter2"))
    assert "password authentication failed" in refused.value.cause
    assert "hunter2" not in refused.value.cause


def test_a_server_that_cannot_be_reached() -> None:
    with pytest.raises(Unavailable):
        present("postgresql+asyncpg://u:p@127.0.0.1:1/x")


# --- Locks --------------------------------------------------------------------------------------


@contextmanager
def holding(url: str, *statements: str) -> Iterator[threading.Event]:
    """Another session, with an open transaction that ran these statements; the event ends it."""
    ready, done = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(
            url.replace("+asyncpg", ""), server_settings={"application_name": "somebody"}
        )
        for statement in ("BEGIN", *statements):
            await connection.execute(statement)
        ready.set()
        await asyncio.to_thread(done.wait, 60)
        await connection.close()

    thread = threading.Thread(target=lambda: asyncio.run(hold()))
    thread.start()
    assert ready.wait(20)
    try:
        yield done
    finally:
        done.set()
        thread.join()


def test_an_upgrade_that_waits_for_another_one_says_so_and_gives_up(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_lock, "_SILENT_SECONDS", 0.1)
    monkeypatch.setattr(migration_lock, "_LONGEST_SECONDS", 0.5)
    told: list[str] = []
    with (
        holding(empty, f"SELECT pg_advisory_lock({migration_lock.LOCK})"),
        pytest.raises(DatabaseRefusedError, match=r"another upgrade holds the schema: .*somebody"),
    ):
        upgrade_schema(empty, told.append)
    assert len(told) == 1
    assert re.fullmatch(
        r"Waiting for another upgrade: \w+ at 127.0.0.1 \(somebody, pid \d+, idle in transaction\)",
        told[0],
    )
    assert present(empty) is None


def test_an_upgrade_that_waits_for_a_lock_says_so_and_fails(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_lock, "_SILENT_SECONDS", 0.1)
    upgrade_schema(empty)
    run_sql(empty, "UPDATE alembic_version SET version_num = '0013'")
    told: list[str] = []
    with (
        holding(empty, "LOCK TABLE alembic_version IN EXCLUSIVE MODE"),
        pytest.raises(DatabaseRefusedError, match="lock timeout"),
    ):
        upgrade_schema(empty, told.append)
    assert len(told) == 1
    assert told[0].startswith("Waiting for a lock that is held by: ")
    assert "somebody" in told[0]
    assert present(empty) == "0013"


def test_a_connection_that_breaks_during_an_upgrade_is_unavailable(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_lock, "_SILENT_SECONDS", 0.1)
    upgrade_schema(empty)
    run_sql(empty, "UPDATE alembic_version SET version_num = '0013'")
    end_upgrade = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{NAME}' AND application_name = 'gateway db'"
    )
    killer = threading.Thread(target=run_sql, args=(at_database(empty, "postgres"), end_upgrade))
    with (
        holding(empty, "LOCK TABLE alembic_version IN EXCLUSIVE MODE"),
        pytest.raises(Unavailable) as failed,
    ):
        upgrade_schema(empty, lambda _: killer.start())
    killer.join()
    assert "terminating connection" in failed.value.cause
    assert "127.0.0.1" in failed.value.place


def test_a_defect_in_a_migration_is_not_translated(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("oops")

    monkeypatch.setattr(command, "upgrade", fail)
    with pytest.raises(ValueError, match="oops"):
        upgrade_schema(empty)
