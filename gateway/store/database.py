"""The database: the connection pool, transactions, and the translation of failures to our errors.

SQLAlchemy manages the pool. Statements go straight to asyncpg on its connections, because the execution
layer of SQLAlchemy would double the cost of each statement.
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
from sqlalchemy.pool import QueuePool
from typing_extensions import override

from gateway.store.connection.availability import Availability
from gateway.store.connection.connect import GUARDS, AnyRow, PostgresConnector, PostgresSession
from gateway.store.connection.failure_causes import (
    FormerPrimaryError,
    PoolerRefusedError,
    RoleRefusedError,
    cause_of,
    translated,
)
from gateway.store.connection.liveness import LinkMonitor

__all__ = ["AnyRow", "Database", "Tx", "open_database"]

_POOL_SECONDS = 1.5
# Added to the time to connect: a caller must get an answer within two seconds.
_CHECKOUT_SECONDS = 0.3
_RETRY_SECONDS = 0.05
# A process finds out that another server was promoted, though the one that it uses answers: in the background, and
# sooner when something has failed.
_LOOK_SECONDS = 30.0
_LOOK_AFTER_FAILURE_SECONDS = 2.0
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_BEGIN = "BEGIN;"
# The sessions of a pooler do not have our settings, so each transaction sets them.
_SET_GUARDS = "".join(f"SET LOCAL {name} = '{value}';" for name, value in GUARDS.items())
# Row-level security applies to this role, whichever login the process uses. The statement is sent in one
# message with BEGIN, which takes no arguments, so only ids may be formatted into it.
_BIND_TENANTS = (
    "SELECT set_config('role', 'gateway_tenant', true), set_config('gateway.tenants', '%s', true);"
)
# asyncpg raises InternalClientError when the connection ends in the middle of one of its own steps.
_FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    DBAPIError,
    PoolTimeoutError,
    OSError,
    TimeoutError,
    asyncpg.InternalClientError,
    PoolerRefusedError,
    FormerPrimaryError,
    RoleRefusedError,
)
# The server was demoted and accepts no more writes, so the next connection must look for another host.
_DEMOTED = (asyncpg.ReadOnlySQLTransactionError,)
# The login is not a member of the role or may not set it, or the role does not exist.
_NO_ROLE = (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)
_COLLISIONS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)

T = TypeVar("T")


class Tx:
    """A connection in use. Statements take their arguments as $1, $2, ...

    `beginning` is sent with the first statement, so a transaction without statements costs nothing.
    """

    def __init__(self, session: PostgresSession, beginning: str = "") -> None:
        self._connection: Any = session
        self._beginning = beginning

    @property
    def has_begun(self) -> bool:
        """Whether a statement has run, so that there is something to commit."""
        return not self._beginning

    async def prepare(self, sql: str) -> None:
        """Run a statement that has neither arguments nor a result.

        Before the first other statement it costs nothing, because it is sent together with BEGIN.
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
        """Run a statement that always returns a row, and return that row."""
        row = await self.row(sql, *arguments)
        if row is None:
            raise RuntimeError("a statement that always returns a row returned none")
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
    """Each statement is a transaction of its own, and is retried once after a collision with another."""

    def __init__(self, session: PostgresSession) -> None:
        super().__init__(session)
        self._begin_guarded = "" if session.is_guarded else f"{_BEGIN}{_SET_GUARDS}"

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
        act = self._in_transaction(act) if self._begin_guarded else act
        try:
            return await act(sql, *arguments)
        except _COLLISIONS:
            await asyncio.sleep(_RETRY_SECONDS)  # at once it would collide again
            return await act(sql, *arguments)

    def _in_transaction(self, act: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def act_guarded(sql: str, *arguments: object) -> T:
            await self._connection.execute(self._begin_guarded)
            try:
                answer = await act(sql, *arguments)
            except Exception:
                if not self._connection.is_closed():
                    await self._connection.execute("ROLLBACK;")
                raise
            await self._connection.execute("COMMIT;")
            return answer

        return act_guarded


class PoolUse(NamedTuple):
    """The connections that a process may have, those in use, and the callers that wait for one."""

    size: int
    in_use: int
    waiting: int


class LinkFacts(NamedTuple):
    """A connection: the encoding of its database, such as UTF8, and how it leads there."""

    encoding: str
    is_local: bool
    is_pooled: bool


class Database:
    """The pool of one process."""

    def __init__(self, engine: AsyncEngine, connector: PostgresConnector) -> None:
        self.availability = Availability()
        self._engine = engine
        self._connector = connector
        self._link_monitor = LinkMonitor(connector)
        self._waiting = 0

    @property
    def place(self) -> str:
        """The hosts that it connects to, as shown to people."""
        return self._connector.url.place

    @property
    def use(self) -> PoolUse:
        """How much of the pool is in use."""
        pool = cast("QueuePool", self._engine.pool)
        return PoolUse(pool.size(), pool.checkedout(), self._waiting)

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[Tx]:
        """A transaction: committed at the end of the block, rolled back on an error.

        Raises Unavailable when the database is away. If that happens during the commit, the transaction
        may or may not be committed.
        """
        async with self._transaction("") as tx:
            yield tx

    @asynccontextmanager
    async def of(self, *tenant_ids: UUID) -> AsyncGenerator[Tx]:
        """A transaction that can read and write only rows of these tenants.

        Row-level security enforces it, as a second line behind the conditions of each statement.
        """
        async with self._transaction(
            _BIND_TENANTS % ",".join([one.hex for one in tenant_ids])
        ) as tx:
            yield tx

    @asynccontextmanager
    async def single(self) -> AsyncGenerator[Tx]:
        """For statements that are each a transaction of their own."""
        async with self._session() as session:
            yield _Single(session)

    async def link(self) -> LinkFacts:
        """What one of its connections leads to; raises Unavailable."""
        async with self._session() as session:
            host = session.host
            is_local = host is None or host.name.startswith("/") or host.name in _LOCAL
            return LinkFacts(session.encoding, is_local=is_local, is_pooled=session.is_pooled)

    async def open_ahead(
        self, count: int, warm_up: Callable[[Tx], Awaitable[None]] | None = None
    ) -> None:
        """Open connections before they are needed, and run `warm_up` in a transaction on each.

        The first burst then does not wait for either. Raises Unavailable when the database is away.
        """
        async with AsyncExitStack() as stack:
            for _ in range(count):
                tx = await stack.enter_async_context(self.begin())
                if warm_up is not None:
                    await warm_up(tx)

    async def close(self) -> None:
        """Close all connections."""
        self._connector.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self, binding: str) -> AsyncGenerator[Tx]:
        async with self._session() as session:
            driver: Any = session
            tx = Tx(session, f"{_BEGIN}{'' if session.is_guarded else _SET_GUARDS}{binding}")
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
            session = await self._check_out(connection)
            is_reusable = False
            try:
                with self._link_monitor.watching(session):
                    yield session
                is_reusable = True
            except Exception as error:
                is_reusable = not isinstance(error, (TimeoutError, *_DEMOTED))
                raise
            finally:
                if is_reusable and not session.is_closed() and not session.is_in_transaction():
                    await connection.close()  # sends nothing to the server, so it cannot wait
                else:
                    await asyncio.shield(_drop(connection))
        except _FAILURES as error:
            self._connector.look_around(_LOOK_AFTER_FAILURE_SECONDS)
            self.availability.note_failure(cause_of(error))
            raise translated(error, self.place) from error
        self.availability.note_success()

    async def _check_out(self, connection: AsyncConnection) -> PostgresSession:
        self._connector.look_around(_LOOK_SECONDS)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._connector.seconds + _CHECKOUT_SECONDS):
                await connection.start()
                driver: Any = (await connection.get_raw_connection()).driver_connection
                return driver
        finally:
            self._waiting -= 1


async def _drop(connection: AsyncConnection) -> None:
    """Close a connection that is lost or in an unknown state, instead of returning it to the pool.

    After a cancellation the driver has not seen the answer either, so what it knows of the transaction
    may be out of date.
    """
    await connection.invalidate()
    await connection.close()


def open_database(url: str, *, pool: int, name: str) -> Database:
    """Make the pool; connections are opened when they are needed. The server shows `name`.

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
        # Stored JSON is passed on as text and never parsed on the way.
        json_deserializer=str,
    )

    def replace_unusable(connection: AdaptedConnection, *_: object) -> None:
        """Have the pool replace a connection that was closed, or whose server was replaced."""
        if not connector.is_usable(connection.driver_connection):
            raise DisconnectionError

    event.listen(engine.sync_engine, "checkout", replace_unusable)
    return Database(engine, connector)
