"""The revision of the schema: the one a database has, the one the code needs, and the upgrade."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

import gateway
from gateway.store.connection.connect import PostgresConnector
from gateway.store.connection.failure_causes import Trouble, cause_of
from gateway.store.database import Tx, open_database
from gateway.store.migration.migration_lock import NoTurnError, Tell
from gateway.store.migration.preflight import DatabaseRefusedError, check

__all__ = [
    "DatabaseRefusedError",
    "newest_revision",
    "present_revision",
    "revision",
    "upgrade_schema",
]


def newest_revision() -> str | None:
    """The revision that this version of the code needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


async def present_revision(url: str) -> str | None:
    """The revision of a database; None before the first. Raises Unavailable."""
    database = open_database(url, pool=1, name="gateway db")
    try:
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


def upgrade_schema(url: str, tell: Tell = lambda _: None) -> None:
    """Apply the missing migrations, one process at a time; raises DatabaseRefusedError, Unavailable.

    Checks before the first change whether the server would refuse one of them. `tell` gets a message about
    each session that it waits for. Starts event loops of its own.
    """
    connector = PostgresConnector(url, "gateway db", guarded=False)
    config = _config()
    config.attributes["connector"] = connector
    config.attributes["tell"] = tell
    with _translated(connector):
        asyncio.run(_check(connector))
        command.upgrade(config, "head")


async def _check(connector: PostgresConnector) -> None:
    session = await connector.connect()
    try:
        await check(session)
    finally:
        session.terminate()


def _scripts() -> Path:
    """The folder of the migrations: inside an installed package, else beside it."""
    package = Path(gateway.__path__[0])
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _translated(connector: PostgresConnector) -> Generator[None]:
    """Raise DatabaseRefusedError or Unavailable for the errors of the driver and of SQLAlchemy."""
    try:
        yield
    except NoTurnError as error:
        raise DatabaseRefusedError(str(error)) from None
    except DatabaseRefusedError:
        raise
    except Exception as error:
        cause = cause_of(error)
        if cause is not None and cause.trouble is not Trouble.LOCKED:
            raise cause.error(connector.url.place) from error
        if not isinstance(error, DBAPIError):
            raise
        raise _refused(error) from error


def _refused(error: DBAPIError) -> DatabaseRefusedError:
    """The message of the server, with its hint."""
    said = error.orig.__cause__ if error.orig is not None else None
    message = getattr(said, "message", None) or str(error.orig)
    return DatabaseRefusedError(message.splitlines()[0], getattr(said, "hint", None) or "")
