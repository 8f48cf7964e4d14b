"""Runs the migrations on one connection, one at a time across all processes."""

import asyncio
import time

from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.store.schema import metadata

# Any number that nothing else locks: two upgrades at once wait for each other.
_LOCK = 7_203_115_489
_LOOK_AGAIN_SECONDS = 0.1


def _take_turns(connection: Connection) -> None:
    # Not by waiting in a statement: an index that is built beside traffic waits for all statements.
    while not connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK})")).scalar_one():
        connection.commit()
        time.sleep(_LOOK_AGAIN_SECONDS)


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    # Both are the session's, as a migration may commit statement by statement.
    _take_turns(connection)
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.commit()
    with context.begin_transaction():
        context.run_migrations()


async def _migrate() -> None:
    url = context.config.get_main_option("sqlalchemy.url")
    if url is None:
        raise RuntimeError("no database URL was given")
    engine = create_async_engine(url, poolclass=pool.NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run)
            await connection.commit()
    finally:
        await engine.dispose()


asyncio.run(_migrate())
