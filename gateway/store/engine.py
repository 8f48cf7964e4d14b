"""The database: a pool, transactions, and one word for "away".

SQLAlchemy keeps the pool. The statements go straight to the driver on its connections: its own
execution layer would double the cost of each one.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from sqlalchemy import event
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.errors import BadRequest, Unavailable
from gateway.store.pulse import Pulse

# Connection trouble, shutdown, full disk, too many connections, read-only, cancelled, no lock.
_AWAY_STATES = ("08", "57", "53", "25006", "55P03", "25P03", "58", "40")
_BAD_DATA = "22"
_CONNECT_SECONDS = 1.5
_POOL_SECONDS = 1.5
# With both of them: who waits for an answer has to be told within two seconds.
_CHECKOUT_SECONDS = 1.8
_LOCK_SECONDS = 5
_STATEMENT_SECONDS = 10
# Of a role without any other rights, so that it binds whoever the process is logged in as. One
# message begins and binds, which holds no arguments: nothing but ids may be written into it.
_BEGIN_BOUND = (
    "BEGIN; SELECT set_config('role', 'gateway_tenant', true),"
    " set_config('gateway.tenants', '%s', true);"
)
_AGAIN = "with an Idempotency-Key a repeated request never makes a second job."
_DETAIL = f"The database cannot be reached just now. Try again; {_AGAIN}"
_CANCELLED = "57014"
_TOO_LONG = (
    "The database took too long for this. A list takes less with a shorter time or fewer tenants. "
    f"Try again; {_AGAIN}"
)


# The last of them is what the driver says when the connection ends in the middle of its own steps.
_DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    DBAPIError,
    asyncpg.InternalClientError,
)


class AnyRow(asyncpg.Record):
    """A row whose columns are also attributes."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what the statement selects
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Tx:
    """One connection in use; statements are given with their arguments as $1, $2, ...

    A transaction begins with its first statement.
    """

    def __init__(self, connection: Any, beginning: str = "") -> None:  # noqa: ANN401 - asyncpg has no types
        self._connection = connection
        self._beginning = beginning

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to commit."""
        return not self._beginning

    async def prepare(self, sql: str) -> None:
        """Run a statement that has neither arguments nor an answer.

        Before all others it costs nothing: it goes out together with the beginning.
        """
        if self._beginning:
            self._beginning += f"{sql};"
        else:
            await self._connection.execute(f"{sql};")

    async def rows(self, sql: str, *arguments: object) -> Sequence[AnyRow]:
        """Run a statement and return its rows."""
        await self._begin()
        return await self._connection.fetch(sql, *arguments)

    async def row(self, sql: str, *arguments: object) -> AnyRow | None:
        """Run a statement and return its first row."""
        await self._begin()
        return await self._connection.fetchrow(sql, *arguments)

    async def one(self, sql: str, *arguments: object) -> AnyRow:
        """Run a statement that always has a row, and return it."""
        row = await self.row(sql, *arguments)
        if row is None:
            raise RuntimeError("a statement that always has a row had none")
        return row

    async def run(self, sql: str, *arguments: object) -> int:
        """Run a statement and return how many rows it changed."""
        await self._begin()
        status: str = await self._connection.execute(sql, *arguments)
        return int(status.rpartition(" ")[2])

    async def _begin(self) -> None:
        if self._beginning:
            beginning, self._beginning = self._beginning, ""
            await self._connection.execute(beginning)


class Database:
    """The pool of one process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._pulse = Pulse(engine.url.set(drivername="postgresql").render_as_string(False))

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[Tx]:
        """A transaction: committed at the end, rolled back on an error.

        Raises Unavailable when the database is away; whether a commit that was under way took
        place is then not known.
        """
        async with self._transaction("BEGIN;") as tx:
            yield tx

    @asynccontextmanager
    async def of(self, *tenant_ids: UUID) -> AsyncGenerator[Tx]:
        """A transaction in which nothing can be seen or written but what is these tenants'.

        The second line behind the conditions of every statement: row-level security.
        """
        async with self._transaction(
            _BEGIN_BOUND % ",".join([one.hex for one in tenant_ids])
        ) as tx:
            yield tx

    @asynccontextmanager
    async def single(self) -> AsyncGenerator[Tx]:
        """For statements that each are a transaction of their own."""
        async with self._connection() as driver:
            yield Tx(driver)

    async def open_ahead(self, count: int) -> None:
        """Open connections before they are needed, so that the first burst does not wait for them.

        Raises Unavailable when the database is away.
        """
        async with AsyncExitStack() as stack:
            for _ in range(count):
                await stack.enter_async_context(self._connection())

    async def close(self) -> None:
        """Give all connections back."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self, beginning: str) -> AsyncGenerator[Tx]:
        async with self._connection() as driver:
            tx = Tx(driver, beginning)
            try:
                yield tx
            except Exception:
                if tx.has_begun and not driver.is_closed():
                    await driver.execute("ROLLBACK;")
                raise
            if tx.has_begun:
                await driver.execute("COMMIT;")

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        try:
            connection = self._engine.connect()
            async with asyncio.timeout(_CHECKOUT_SECONDS):
                await connection.start()
                driver: Any = (await connection.get_raw_connection()).driver_connection
            is_known = False
            try:
                with self._pulse.watching(driver):
                    yield driver
                is_known = True
            except Exception as error:
                is_known = not isinstance(error, TimeoutError)
                raise
            finally:
                if is_known and not driver.is_closed() and not driver.is_in_transaction():
                    await connection.close()  # which asks the server nothing, so it cannot wait
                else:
                    await asyncio.shield(_drop(connection))
        except _DRIVER_ERRORS as error:
            raise _translated(error) from error
        except (PoolTimeoutError, OSError, TimeoutError) as error:
            raise Unavailable(_DETAIL, retry_after=1) from error


async def _drop(connection: AsyncConnection) -> None:
    """Keep a connection out of the pool that is lost, or whose state nobody knows.

    Who was cancelled has heard of no answer, and neither has the driver: what it says of a
    transaction may be what was so before.
    """
    await connection.invalidate()
    await connection.close()


def _replace_closed(connection: AdaptedConnection, *_: object) -> None:
    """Have the pool open another connection for one that the server has closed at rest."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _translated(error: Exception) -> Exception:
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(cause, "sqlstate", None)
    if state == _CANCELLED:
        return Unavailable(_TOO_LONG, retry_after=1)
    if state is None or str(state).startswith(_AWAY_STATES):
        return Unavailable(_DETAIL, retry_after=1)
    if str(state).startswith(_BAD_DATA):
        return BadRequest("The request holds a value that cannot be stored.")
    return error


def open_database(url: str, *, pool: int, name: str) -> Database:
    """Make the pool; connections are opened as they are needed. `name` is seen in the server."""
    engine = create_async_engine(
        url,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
        pool_use_lifo=True,
        # Stored JSON is passed on as it is, so it is never parsed on its way.
        json_deserializer=str,
        connect_args={
            "record_class": AnyRow,
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _STATEMENT_SECONDS + 2,
            "server_settings": {
                "application_name": name,
                "jit": "off",
                "plan_cache_mode": "force_custom_plan",
                "statement_timeout": f"{_STATEMENT_SECONDS}s",
                "lock_timeout": f"{_LOCK_SECONDS}s",
                # A process that is stopped or cut off must not keep its row locks.
                "idle_in_transaction_session_timeout": f"{_STATEMENT_SECONDS}s",
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _replace_closed)
    return Database(engine)
