"""The database: a pool, transactions, and one word for "away".

SQLAlchemy keeps the pool. The statements go straight to the driver on its connections: its own
execution layer would double the cost of each one.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple, TypeVar, cast
from uuid import UUID

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from sqlalchemy import event
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool
from typing_extensions import override

from gateway.store.connection.availability import Availability
from gateway.store.connection.connect import GUARDS, AnyRow, PostgresConnector, PostgresSession
from gateway.store.connection.failure_causes import (
    PoolerRefusedError,
    RoleRefusedError,
    cause_of,
    translated,
)
from gateway.store.connection.liveness import LinkMonitor

__all__ = ["AnyRow", "Database", "Tx", "open_database"]

_POOL_SECONDS = 1.5
# Array types of our statements. The driver asks the server about a type when a session first meets it,
# which takes 15 ms: once for all of them, before there is work, is cheapest.
ARRAY_TYPES = (
    "bool", "bytea", "float8", "int", "json", "jsonb", "smallint", "text", "timestamptz", "uuid",
)  # fmt: skip
_LEARN_TYPES = "SELECT " + ", ".join(
    f"${number}::{name}[]" for number, name in enumerate(ARRAY_TYPES, start=1)
)
_KNOWS_TYPES = "knows_types"
# Beyond the time to connect: who waits for an answer has to be told within two seconds.
_CHECKOUT_SECONDS = 0.3
_APART_SECONDS = 0.05
_BEGIN = "BEGIN;"
# A pooler hands out sessions that know nothing of what ours has in force.
_GUARDED = "".join(f"SET LOCAL {name} = '{value}';" for name, value in GUARDS.items())
# Of a role without any other rights, so that it binds whoever the process is logged in as. One
# message begins and binds, which holds no arguments: nothing but ids may be written into it.
_BOUND = (
    "SELECT set_config('role', 'gateway_tenant', true), set_config('gateway.tenants', '%s', true);"
)
# The last but one is what the driver says when the connection ends in the middle of its own steps.
_FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    DBAPIError,
    PoolTimeoutError,
    OSError,
    TimeoutError,
    asyncpg.InternalClientError,
    PoolerRefusedError,
    RoleRefusedError,
)
# A server that was demoted takes no changes any more: another one has to be looked for.
_LEFT_BEHIND = (asyncpg.ReadOnlySQLTransactionError,)
# The login is no member of it, may not set it, or there is none.
_NO_ROLE = (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)
_COLLISIONS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)

T = TypeVar("T")


class Tx:
    """One connection in use; statements are given with their arguments as $1, $2, ...

    A transaction begins with its first statement.
    """

    def __init__(self, session: PostgresSession, beginning: str = "") -> None:
        self._connection: Any = session
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
            try:
                await self._connection.execute(beginning)
            except _NO_ROLE as error:
                raise RoleRefusedError(f"{error}; `gateway db upgrade` says what to do") from error


class _Single(Tx):
    """Each statement is a transaction of its own, and is tried again when it met another one."""

    def __init__(self, session: PostgresSession) -> None:
        super().__init__(session)
        self._apart = "" if session.is_guarded else f"{_BEGIN}{_GUARDED}"

    @override
    async def rows(self, sql: str, *arguments: object) -> Sequence[AnyRow]:
        return await self._each(super().rows, sql, *arguments)

    @override
    async def row(self, sql: str, *arguments: object) -> AnyRow | None:
        return await self._each(super().row, sql, *arguments)

    @override
    async def run(self, sql: str, *arguments: object) -> int:
        return await self._each(super().run, sql, *arguments)

    async def _each(self, act: Callable[..., Awaitable[T]], sql: str, *arguments: object) -> T:
        act = self._inside(act) if self._apart else act
        try:
            return await act(sql, *arguments)
        except _COLLISIONS:
            await asyncio.sleep(_APART_SECONDS)  # at once it would meet the same one again
            return await act(sql, *arguments)

    def _inside(self, act: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def inside(sql: str, *arguments: object) -> T:
            await self._connection.execute(self._apart)
            try:
                answer = await act(sql, *arguments)
            except Exception:
                if not self._connection.is_closed():
                    await self._connection.execute("ROLLBACK;")
                raise
            await self._connection.execute("COMMIT;")
            return answer

        return inside


class PoolUse(NamedTuple):
    """Connections that a process may have and that are in use, and who waits for one."""

    size: int
    in_use: int
    waiting: int


class Database:
    """The pool of one process."""

    def __init__(self, engine: AsyncEngine, connector: PostgresConnector) -> None:
        self.standing = Availability()
        self._engine = engine
        self._connector = connector
        self._pulse = LinkMonitor(connector)
        self._waiting = 0

    @property
    def place(self) -> str:
        """The servers that it connects to, for people."""
        return self._connector.url.place

    @property
    def use(self) -> PoolUse:
        """How much of the pool is in use."""
        pool = cast("QueuePool", self._engine.pool)
        return PoolUse(pool.size(), pool.checkedout(), self._waiting)

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[Tx]:
        """A transaction: committed at the end, rolled back on an error.

        Raises Unavailable when the database is away; whether a commit that was under way took
        place is then not known.
        """
        async with self._transaction("") as tx:
            yield tx

    @asynccontextmanager
    async def of(self, *tenant_ids: UUID) -> AsyncGenerator[Tx]:
        """A transaction in which nothing can be seen or written but what is these tenants'.

        The second line behind the conditions of every statement: row-level security.
        """
        async with self._transaction(_BOUND % ",".join([one.hex for one in tenant_ids])) as tx:
            yield tx

    @asynccontextmanager
    async def single(self) -> AsyncGenerator[Tx]:
        """For statements that each are a transaction of their own."""
        async with self._session() as session:
            yield _Single(session)

    async def server_encoding(self) -> str:
        """The encoding of the database, such as UTF8; raises Unavailable."""
        async with self._session() as session:
            return session.encoding

    async def open_ahead(
        self, count: int, warm_up: Callable[[Tx], Awaitable[None]] | None = None
    ) -> None:
        """Open connections before they are needed, and run `warm_up` in a transaction on each.

        The first burst then waits for neither. Raises Unavailable when the database is away.
        """
        async with AsyncExitStack() as stack:
            for _ in range(count):
                tx = await stack.enter_async_context(self.begin())
                if warm_up is not None:
                    await warm_up(tx)

    async def close(self) -> None:
        """Give all connections back."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self, bound: str) -> AsyncGenerator[Tx]:
        async with self._session() as session:
            driver: Any = session
            tx = Tx(session, f"{_BEGIN}{'' if session.is_guarded else _GUARDED}{bound}")
            try:
                yield tx
            except Exception:
                if tx.has_begun and not session.is_closed():
                    await driver.execute("ROLLBACK;")
                raise
            if tx.has_begun:
                await driver.execute("COMMIT;")

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[PostgresSession]:
        try:
            connection = self._engine.connect()
            self._waiting += 1
            try:
                async with asyncio.timeout(self._connector.seconds + _CHECKOUT_SECONDS):
                    await connection.start()
                    driver: Any = (await connection.get_raw_connection()).driver_connection
            finally:
                self._waiting -= 1
            session: PostgresSession = driver
            is_known = False
            try:
                with self._pulse.watching(session):
                    yield session
                is_known = True
            except Exception as error:
                is_known = not isinstance(error, (TimeoutError, *_LEFT_BEHIND))
                raise
            finally:
                if is_known and not session.is_closed() and not session.is_in_transaction():
                    await connection.close()  # which asks the server nothing, so it cannot wait
                else:
                    await asyncio.shield(_drop(connection))
        except _FAILURES as error:
            self.standing.failed(cause_of(error))
            raise translated(error, self.place) from error
        self.standing.well()


async def _drop(connection: AsyncConnection) -> None:
    """Keep a connection out of the pool that is lost, or whose state nobody knows.

    Who was cancelled has heard of no answer, and neither has the driver: what it says of a
    transaction may be what was so before.
    """
    await connection.invalidate()
    await connection.close()


def _check_out(
    connection: AdaptedConnection, record: ConnectionPoolEntry, _: PoolProxiedConnection
) -> None:
    """Have the pool replace a connection that the server closed at rest; let a new one learn types.

    Not as it connects: the pool opens its first connections one after another.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError
    if _KNOWS_TYPES not in record.info:
        connection.run_async(
            lambda driver: driver.fetchrow(_LEARN_TYPES, *[None] * len(ARRAY_TYPES))
        )
        record.info[_KNOWS_TYPES] = True


def open_database(url: str, *, pool: int, name: str) -> Database:
    """Make the pool; connections are opened as they are needed. `name` is seen in the server.

    Raises BadUrlError.
    """
    connector = PostgresConnector(url, name)
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connector.connect,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
        pool_use_lifo=True,
        # Stored JSON is passed on as it is, so it is never parsed on its way.
        json_deserializer=str,
    )
    event.listen(engine.sync_engine, "checkout", _check_out)
    return Database(engine, connector)
