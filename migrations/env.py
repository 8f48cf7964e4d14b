"""Run the migrations on one connection, in one process at a time."""

import asyncio
from collections.abc import Callable

from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from gateway.store.connection.connect import PostgresConnector
from gateway.store.migration.migration_lock import turn
from gateway.store.migration.revisions import UnknownRevisionError, known_revisions
from gateway.store.schema import metadata


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    # Within the turn: another version may have migrated until now.
    present = context.get_context().get_current_revision()
    known = known_revisions()
    if present is not None and present not in known:
        raise UnknownRevisionError(present)
    floor = context.config.attributes.get("downgrade_to")
    if floor is not None and (present is None or known.index(present) <= known.index(floor)):
        return
    with context.begin_transaction():
        context.run_migrations()


async def _migrate(connector: PostgresConnector, tell: Callable[[str], None]) -> None:
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connector.connect, poolclass=pool.NullPool
    )

    async def lock(key: int) -> bool:
        taken = await connection.scalar(text(f"SELECT pg_try_advisory_lock({key})"))
        await connection.commit()
        return bool(taken)

    try:
        async with engine.connect() as connection:
            pid = await _pid(connection)
            # Lock and time-out belong to the session, because a migration may commit after each statement.
            async with turn(connector, pid, lock, tell):
                await connection.execute(text("SET lock_timeout = '5s'"))
                await connection.commit()
                await connection.run_sync(_run)
                await connection.commit()
    finally:
        await engine.dispose()


async def _pid(connection: AsyncConnection) -> int:
    found = await connection.scalar(text("SELECT pg_backend_pid()"))
    await connection.commit()
    return int(found or 0)


def _connector() -> PostgresConnector:
    given = context.config.attributes.get("connector")
    url = context.config.get_main_option("sqlalchemy.url")
    if given is None and url is None:
        raise RuntimeError("no database URL was given")
    return given or PostgresConnector(str(url), "migrations", guarded=False)


asyncio.run(_migrate(_connector(), context.config.attributes.get("tell", lambda _: None)))
