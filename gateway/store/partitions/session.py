"""The owner's connection for changes of partitions, and short locks that are tried again."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from gateway.store.connection.connect import PostgresConnector
from gateway.store.connection.failure_causes import Trouble, cause_of
from gateway.store.migration.migration_lock import NoTurnError, Tell, turn
from gateway.store.migration.preflight import DatabaseRefusedError, check

# A statement waits at most so long for our lock: longer than the second after which Postgres cancels an
# autovacuum that is in the way, and shorter than the 5 s after which a request fails.
LOCK_SECONDS = 2
_TRIES = 60
_REST_SECONDS = 1.0
_BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


@asynccontextmanager
async def owner_session(url: str, tell: Tell) -> AsyncGenerator[Any]:
    """A session of the migrations' login, while no upgrade and no other such session is at work.

    Raises DatabaseRefusedError and Unavailable.
    """
    connector = PostgresConnector(url, "gateway db", guarded=False)
    try:
        session: Any = await connector.connect()
        try:
            await check(session)

            async def lock(key: int) -> bool:
                return bool(await session.fetchval(f"SELECT pg_try_advisory_lock({key})"))

            pid = await session.fetchval("SELECT pg_backend_pid()")
            async with turn(connector, pid, lock, tell):
                yield session
        finally:
            session.terminate()
    except NoTurnError as error:
        raise DatabaseRefusedError(str(error)) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseRefusedError(
            str(error), "Set GATEWAY_MIGRATION_DATABASE_URL to the login that owns the tables."
        ) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        cause = cause_of(error)
        if cause is None or cause.trouble is Trouble.LOCKED:
            raise DatabaseRefusedError(str(error).splitlines()[0]) from error
        raise cause.error(connector.url.place) from error


async def run_all(session: Any, statements: Iterable[str]) -> None:  # noqa: ANN401
    """Run statements one after the other."""
    for statement in statements:
        await session.execute(statement)


async def briefly(session: Any, tell: Tell, work: Callable[[], Awaitable[None]]) -> float:  # noqa: ANN401
    """Do work that needs strong locks in one transaction; returns the seconds from its first lock on.

    Gives up a lock that does not come within LOCK_SECONDS, so that nobody waits longer behind it, and tries
    again. Raises DatabaseRefusedError after a minute or two.
    """
    loop = asyncio.get_running_loop()
    for _ in range(_TRIES):
        started = loop.time()
        try:
            async with session.transaction():
                await session.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                await work()
        except _BUSY:
            tell("The tables are in use by a longer transaction; trying again.")
            await asyncio.sleep(_REST_SECONDS)
        else:
            return loop.time() - started
    raise DatabaseRefusedError(
        f"a lock did not come in {_TRIES} tries of {LOCK_SECONDS} s",
        "Look for long transactions in pg_stat_activity, and run it again: nothing has changed.",
    )
