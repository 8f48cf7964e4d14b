"""The revision of the schema: the one a database has, the one the code needs, and the upgrade."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from alembic import command
from sqlalchemy.exc import DBAPIError

from gateway.store.connection.connect import PostgresConnector
from gateway.store.connection.failure_causes import Trouble, cause_of
from gateway.store.database import Tx, open_database
from gateway.store.migration.migration_lock import NoTurnError, Tell
from gateway.store.migration.preflight import DatabaseRefusedError, check
from gateway.store.migration.revisions import (
    UnknownRevisionError,
    alembic_config,
    is_newer,
    newest_revision,
)

__all__ = [
    "DatabaseRefusedError",
    "downgrade_schema",
    "newest_revision",
    "present_revision",
    "revision",
    "upgrade_schema",
]

_IS_PARTITIONED = "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass('job')"
_OTHER_VERSION = "Use the version of the gateway that made this schema."


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

    A schema that is newer than this version is left as it is. Checks before the first change whether the
    server would refuse one of them. `tell` gets a message about each session that it waits for. Starts event
    loops of its own.
    """
    try:
        _migrate(url, tell, newest_revision() or "head", down=False)
    except UnknownRevisionError as error:
        if not is_newer(error.revision):
            raise DatabaseRefusedError(str(error), _OTHER_VERSION) from None


def downgrade_schema(url: str, target: str, tell: Tell = lambda _: None) -> None:
    """Take back all migrations after a revision that this version knows.

    Otherwise as `upgrade_schema`. A schema that is not newer than the target is left as it is.
    """
    try:
        _migrate(url, tell, target, down=True)
    except UnknownRevisionError as error:
        raise DatabaseRefusedError(str(error), _OTHER_VERSION) from None


def _migrate(url: str, tell: Tell, target: str, *, down: bool) -> None:
    connector = PostgresConnector(url, "gateway db", guarded=False)
    config = alembic_config()
    config.attributes["connector"] = connector
    config.attributes["tell"] = tell
    with _translated(connector):
        asyncio.run(_check(connector, down=down))
        if down:
            config.attributes["downgrade_to"] = target
            command.downgrade(config, target)
        else:
            command.upgrade(config, target)


async def _check(connector: PostgresConnector, *, down: bool) -> None:
    session = await connector.connect()
    untyped: Any = session
    try:
        await check(session)
        if down and await untyped.fetchval(_IS_PARTITIONED):
            raise DatabaseRefusedError(
                "the jobs are in partitions, which older schemas do not have",
                "`gateway db partition off` puts them into one table again.",
            )
    finally:
        session.terminate()


@contextmanager
def _translated(connector: PostgresConnector) -> Generator[None]:
    """Raise DatabaseRefusedError or Unavailable for the errors of the driver and of SQLAlchemy.

    UnknownRevisionError is for the caller.
    """
    try:
        yield
    except NoTurnError as error:
        raise DatabaseRefusedError(str(error)) from None
    except (DatabaseRefusedError, UnknownRevisionError):
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
