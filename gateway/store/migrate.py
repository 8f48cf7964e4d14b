"""The revision of the schema: what it is, what it should be, and the way there."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

import migrations
from gateway.store.engine import Tx, open_database


class DatabaseRefusedError(Exception):
    """The server answers but does not do it: wrong user, no such database, no right, no lock."""


def newest_revision() -> str | None:
    """The revision that this version of the code needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


async def present_revision(url: str) -> str | None:
    """The revision of a database; None before the first. Raises Unavailable, DatabaseRefusedError."""
    database = open_database(url, pool=1, name="gateway db")
    try:
        with _refusals():
            async with database.single() as tx:
                return await revision(tx)
    finally:
        await database.close()


async def revision(tx: Tx) -> str | None:
    """The revision of the database in use; None before the first."""
    exists = await tx.row("SELECT to_regclass('alembic_version')")
    if exists is None or exists[0] is None:
        return None
    row = await tx.row("SELECT version_num FROM alembic_version")
    return None if row is None else row[0]


def upgrade_schema(url: str) -> None:
    """Apply what is missing, one process at a time; raises DatabaseRefusedError.

    Runs an event loop of its own.
    """
    config = _config()
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))  # as ConfigParser reads it
    with _refusals():
        command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__path__[0])).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _refusals() -> Generator[None]:
    try:
        yield
    except DBAPIError as error:
        raise DatabaseRefusedError(str(error.orig)) from error
