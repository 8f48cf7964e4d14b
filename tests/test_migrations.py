"""Migrations: one line of them, up, down and up again, and the same schema as the code has."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from gateway.store.migrate import newest_revision, upgrade_schema
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


def test_up_down_and_up_again_leaves_the_same(empty_url: str):
    bare = schema(empty_url)
    command.upgrade(config(empty_url), "head")
    first = schema(empty_url)
    command.downgrade(config(empty_url), "base")
    down = schema(empty_url)
    assert "job" not in down
    assert len(down) < len(first) / 10
    command.upgrade(config(empty_url), "head")
    assert schema(empty_url) == first != bare


def test_every_step_back_can_be_gone_forward_again(empty_url: str):
    command.upgrade(config(empty_url), "head")
    for script in ScriptDirectory(str(ROOT / "migrations")).walk_revisions():
        command.downgrade(config(empty_url), script.down_revision or "base")  # pyright: ignore[reportArgumentType]
        command.upgrade(config(empty_url), "head")


def test_the_code_has_no_table_column_or_index_that_the_migrations_lack(empty_url: str):
    command.upgrade(config(empty_url), "head")
    command.check(config(empty_url))


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(empty_url: str):
    command.upgrade(config(empty_url), "head")
    before = schema(empty_url)
    upgrade_schema(empty_url)
    assert schema(empty_url) == before
