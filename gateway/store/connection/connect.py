"""How every connection to Postgres is made: for the pool, for probes of a link, for migrations."""

import asyncio
import ssl
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlencode

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from typing_extensions import override

from gateway.config.postgres_url import Host, read_url
from gateway.store.connection.failure_causes import FormerPrimaryError, PoolerRefusedError
from gateway.store.connection.timelines import Timeline, Timelines

STATEMENT_SECONDS = 10
LOCK_SECONDS = 5
CONNECT_SECONDS = 1.5
# Settings of every session. They cost nothing in the startup message, but a pooler does not pass them on:
# behind a pooler each transaction sets them, see store/database.py.
GUARDS: Mapping[str, str] = {
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": f"{LOCK_SECONDS}s",
    # A process that is stopped or cut off must not keep its row locks.
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS}s",
}
# The ids of bool[], json[], bytea[], smallint[], int[], text[], bigint[], float8[], timestamptz[], uuid[] and
# jsonb[], which are the same on every server.
BUILT_IN_ARRAYS = frozenset({1000, 199, 1001, 1005, 1007, 1009, 1016, 1022, 1185, 2951, 3807})
_NO_GUARDS: Mapping[str, str] = {}
_REFUSED_PARAMETER = "startup parameter"
_OLD_POOLER = (
    "the pooler in front of Postgres keeps no prepared statements: PgBouncer 1.21 or newer with "
    "max_prepared_statements above 0 is needed"
)
# The second column is true if the statement finds itself under the name that asyncpg gave it. A pooler that
# supports prepared statements keeps it under another name.
_CHECK_SESSION = """
SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_prepared_statements WHERE name LIKE '\\_\\_asyncpg%')"""
# After these errors the next host is tried.
_NEXT_HOST = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.ConnectionDoesNotExistError,
    FormerPrimaryError,
)


class AnyRow(asyncpg.Record):
    """A row whose columns are also attributes."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what the statement selects
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class _Introspection(NamedTuple):
    """What asyncpg learns by asking about types: rows, and the statement that it asked with."""

    rows: Sequence[asyncpg.Record]
    name: str = "asked by another connection"


# What the server said of BUILT_IN_ARRAYS, for all connections of the process.
_known_arrays: list[asyncpg.Record] = []


class PostgresSession(asyncpg.Connection):
    """A connection to one of the hosts.

    `is_pooled`: a pooler is in between. `is_guarded`: the settings of GUARDS hold for the whole session.
    """

    host: Host | None = None
    timeline: Timeline | None = None
    is_pooled = False
    is_guarded = False

    @property
    def encoding(self) -> str:
        """The encoding of the database, such as UTF8."""
        untyped: Any = self
        return str(untyped.get_settings().server_encoding)

    @override
    async def _introspect_types(self, typeoids: Collection[int], timeout: float | None) -> Any:
        """Ask about array types once in a process; asyncpg asks 15 ms long in each connection.

        asyncpg has no public way to hand it types. tests/store/test_database.py holds it to this one.
        """
        untyped: Any = super()
        ask = untyped._introspect_types  # noqa: SLF001 - see above
        if not BUILT_IN_ARRAYS.issuperset(typeoids):
            return await ask(typeoids, timeout)
        if _known_arrays:
            known = _Introspection(_known_arrays)
            return known.rows, known
        rows, statement = await ask(BUILT_IN_ARRAYS, timeout)
        _known_arrays[:] = rows
        return rows, statement


class PostgresConnector:
    """Connects to the hosts of a URL; the server shows `name`, unless the URL has its own.

    Raises BadUrlError. The host that answered last is tried first. Without `guarded`, no timeout limits a
    statement.
    """

    def __init__(self, url: str, name: str, *, guarded: bool = True) -> None:
        self.url = read_url(url)
        self._guards = GUARDS if guarded else _NO_GUARDS
        self._command_timeout = STATEMENT_SECONDS + 2 if guarded else None
        self._server = {"application_name": name, **self.url.server}
        self._hosts: list[Host | None] = list(self.url.hosts) or [None]
        self._pooled: set[Host | None] = set()
        # Only where one of several servers has to be the primary, another one can be a former primary.
        attributes = self._driver_options().get("target_session_attrs", "any")
        may_differ = len(self._hosts) > 1 and attributes != "any"
        self._timelines = Timelines(self._connect_unguarded) if may_differ else None

    @property
    def seconds(self) -> float:
        """How long a connection to one host may take."""
        return self.url.connect_timeout or CONNECT_SECONDS

    async def connect(self) -> PostgresSession:
        """Connect to the first host that accepts; raises the driver's error of the last one."""
        if self._timelines is not None:
            self._hosts = await self._timelines.sorted(self._hosts)
        *others, last = self._hosts
        for host in others:
            with suppress(*_NEXT_HOST):
                return await self._try_host(host)
        return await self._try_host(last)

    def look_around(self, seconds: float) -> None:
        """Ask in the background which host is the primary, at most once in so many seconds."""
        if self._timelines is not None:
            self._timelines.look_around(self._hosts, seconds)

    def is_usable(self, session: PostgresSession) -> bool:
        """Whether a session is open, and does not lead to a former primary."""
        is_former = self._timelines is not None and self._timelines.is_old(session.timeline)
        return not (is_former or session.is_closed())

    def close(self) -> None:
        """Stop what runs in the background."""
        if self._timelines is not None:
            self._timelines.close()

    async def probe(self, host: Host | None) -> None:
        """Connect to a host and disconnect; raises the driver's error."""
        session = await self._connect_unguarded(host)
        session.terminate()

    async def _try_host(self, host: Host | None) -> PostgresSession:
        try:
            async with asyncio.timeout(self.seconds):
                return await self._open(host)
        except (*_NEXT_HOST, asyncio.CancelledError):  # cancelled: it was too slow for its caller
            with suppress(ValueError):
                self._hosts.remove(host)
                self._hosts.append(host)
            raise

    async def _open(self, host: Host | None) -> PostgresSession:
        guards = _NO_GUARDS if host in self._pooled else self._guards
        try:
            session = await self._connect_to(host, guards)
        except asyncpg.ProtocolViolationError as error:
            if not guards or _REFUSED_PARAMETER not in str(error):
                raise
            self._pooled.add(host)
            guards = _NO_GUARDS
            session = await self._connect_to(host, guards)
        try:
            await self._check(session)
            if self._timelines is not None:
                session.timeline = await self._timelines.check(session)
            session.is_guarded = bool(guards) and not session.is_pooled
        except BaseException:
            session.terminate()
            raise
        return session

    async def _check(self, session: PostgresSession) -> None:
        """Detect a pooler, which runs statements in a process of another pid; refuse one that is too old."""
        untyped: Any = session
        pid, is_own_name = await untyped.fetchrow(_CHECK_SESSION)
        session.is_pooled = bool(pid != untyped.get_server_pid())
        if session.is_pooled:
            self._pooled.add(session.host)
            if is_own_name:
                raise PoolerRefusedError(_OLD_POOLER)
        else:
            self._pooled.discard(session.host)

    async def _connect_unguarded(self, host: Host | None) -> PostgresSession:
        return await self._connect_to(host, _NO_GUARDS)

    async def _connect_to(self, host: Host | None, guards: Mapping[str, str]) -> PostgresSession:
        place = {} if host is None else {"host": host.name, "port": host.port}
        driver: Any = asyncpg
        session: PostgresSession = await driver.connect(
            f"postgresql://?{urlencode(self._driver_options())}",
            **place,
            user=self.url.user,
            password=self.url.password,
            database=self.url.database,
            server_settings={**self._server, **guards},
            connection_class=PostgresSession,
            record_class=AnyRow,
            timeout=self.seconds,
            command_timeout=self._command_timeout,
            **self._tls_options(),
        )
        session.host = host
        return session

    def _driver_options(self) -> Mapping[str, str]:
        given = dict(self.url.driver)
        if len(self.url.hosts) > 1:  # one of the hosts must accept writes
            given.setdefault("target_session_attrs", "read-write")
        return given

    def _tls_options(self) -> Mapping[str, Any]:
        """The certificates of the system: asyncpg does not know libpq's `sslrootcert=system`."""
        if self.url.driver.get("sslrootcert") != "system":
            return {}
        return {"ssl": ssl.create_default_context()}
