"""Migrations: one line of them, up, down and up again, and the same schema as the code has."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from gateway.store.migration.migrate import newest_revision, upgrade_schema
from tests.conftest import ROOT, at_database, run_sql

_DUMP = """
SELECT jsonb_agg(r ORDER BY r::text)::text FROM (
  SELECT table_name, column_name, data_type, is_nullable, column_default
  FROM information_schema.columns WHERE table_schema = 'public'
  UNION ALL
  SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'
) AS r"""


@pytest.fixture(scope="module")
def empty_url(postgres: str) -> Iterator[str]:
    """A database without anything in it."""
    name = "t_migrations_empty"
    run_sql(postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    yield at_database(postgres, name)
    run_sql(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def config(url: str) -> Config:
    made = Config()
    made.set_main_option("script_location", str(ROOT / "migrations"))
    made.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return made


def schema(url: str) -> str:
    """Every column and index, as text."""

    async def read() -> str | None:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return await connection.fetchval(_DUMP)
        finally:
            await connection.close()

    return asyncio.run(read()) or ""


def test_there_is_one_newest_revision_and_one_line_to_it():
    scripts = ScriptDirectory(str(ROOT / "migrations"))
    assert scripts.get_heads() == [newest_revision()]
    walk = list(scripts.walk_revisions())
    assert all(not script.is_merge_point and not script.is_branch_point for script in walk)
    assert all(script.doc for script in walk)


def test_every_step_down_can_be_gone_up_again(empty_url: str):
    command.upgrade(config(empty_url), "head")
    first = above = schema(empty_url)
    for script in ScriptDirectory(str(ROOT / "migrations")).walk_revisions():
        below = str(script.down_revision or "base")
        command.downgrade(config(empty_url), below)
        command.upgrade(config(empty_url), script.revision)
        assert schema(empty_url) == above
        command.downgrade(config(empty_url), below)
        above = schema(empty_url)
    assert "job" not in above
    assert len(above) < len(first) / 10


def test_the_code_has_no_table_column_or_index_that_the_migrations_lack(empty_url: str):
    command.upgrade(config(empty_url), "head")
    command.check(config(empty_url))


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(empty_url: str):
    command.upgrade(config(empty_url), "head")
    before = schema(empty_url)
    upgrade_schema(empty_url)
    assert schema(empty_url) == before


def test_deliveries_from_before_get_the_type_of_their_event(empty_url: str):
    command.upgrade(config(empty_url), "head")
    command.downgrade(config(empty_url), "0002")
    made = """
INSERT INTO event (id, tenant_id, type, body)
SELECT md5('event' || n)::uuid, md5('t')::uuid, 'type.' || n % 3, '{}' FROM generate_series(1, 12000) n;
INSERT INTO delivery (id, tenant_id, event_id, lane)
SELECT md5('delivery' || n)::uuid, md5('t')::uuid, md5('event' || n)::uuid, md5('t')::uuid
FROM generate_series(1, 12000) n"""
    run_sql(empty_url, *made.split(";"))
    command.upgrade(config(empty_url), "head")

    async def wrong() -> int:
        connection = await asyncpg.connect(empty_url.replace("+asyncpg", ""))
        try:
            return await connection.fetchval(
                "SELECT count(*) FROM delivery d JOIN event e ON e.id = d.event_id"
                " WHERE d.type IS DISTINCT FROM e.type"
            )
        finally:
            await connection.close()

    assert asyncio.run(wrong()) == 0
    run_sql(empty_url, "DELETE FROM delivery", "DELETE FROM event")
