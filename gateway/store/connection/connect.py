"""The one way to connect to Postgres: of the pool, of the pulse, of migrations."""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from gateway.config.postgres_url import Host, read_url
from gateway.store.connection.failure_causes import PoolerRefusedError

STATEMENT_SECONDS = 10
LOCK_SECONDS = 5
CONNECT_SECONDS = 1.5
# What every session has in force. In the startup message they cost nothing, but a pooler knows
# nothing of them: there each transaction sets them, see engine.py.
GUARDS: Mapping[str, str] = {
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": f"{LOCK_SECONDS}s",
    # A process that is stopped or cut off must not keep its row locks.
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS}s",
}
_NONE: Mapping[str, str] = {}
_REFUSED_PARAMETER = "startup parameter"
_OLD_POOLER = (
    "the pooler in front of Postgres keeps no prepared statements: PgBouncer 1.21 or newer with "
    "max_prepared_statements above 0 is needed"
)
# The statement sees itself: under its own name, unless a pooler keeps it under another one.
_LOOK = """
SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_prepared_statements WHERE name LIKE '\\_\\_asyncpg%')"""
_NEXT_HOST = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.ConnectionDoesNotExistError,
)


class AnyRow(asyncpg.Record):
    """A row whose columns are also attributes."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what the statement selects
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class PostgresSession(asyncpg.Connection):
    """A connection that knows where it leads.

    `is_pooled` when a pooler is in between; `is_guarded` when its time-outs are in force by themselves.
    """

    host: Host | None = None
    is_pooled = False
    is_guarded = False

    @property
    def encoding(self) -> str:
        """The encoding of the database, such as UTF8."""
        untyped: Any = self
        return str(untyped.get_settings().server_encoding)


class PostgresConnector:
    """Connects to the hosts of a URL; `name` is what the server shows, unless the URL has its own.

    Raises BadUrlError. The host that answered last is asked first. Without `guarded` nothing bounds
    what a statement takes.
    """

    def __init__(self, url: str, name: str, *, guarded: bool = True) -> None:
        self.url = read_url(url)
        self._guards = GUARDS if guarded else _NONE
        self._longest = STATEMENT_SECONDS + 2 if guarded else None
        self._server = {"application_name": name, **self.url.server}
        self._hosts: list[Host | None] = list(self.url.hosts) or [None]
        self._pooled: set[Host | None] = set()

    @property
    def seconds(self) -> float:
        """How long one host may take."""
        return self.url.connect_timeout or CONNECT_SECONDS

    async def connect(self) -> PostgresSession:
        """A session on the first host that takes one; raises what the driver raises of the last."""
        *others, last = self._hosts
        for host in others:
            with suppress(*_NEXT_HOST):
                return await self._try(host)
        return await self._try(last)

    async def touch(self, host: Host | None) -> None:
        """Connect to a host and leave; raises what the driver raises."""
        session = await self._dial(host, _NONE)
        session.terminate()

    async def _try(self, host: Host | None) -> PostgresSession:
        try:
            async with asyncio.timeout(self.seconds):
                return await self._open(host)
        except (*_NEXT_HOST, asyncio.CancelledError):  # or it was too slow for who waits
            with suppress(ValueError):
                self._hosts.remove(host)
                self._hosts.append(host)
            raise

    async def _open(self, host: Host | None) -> PostgresSession:
        guards = _NONE if host in self._pooled else self._guards
        try:
            session = await self._dial(host, guards)
        except asyncpg.ProtocolViolationError as error:
            if not guards or _REFUSED_PARAMETER not in str(error):
                raise
            self._pooled.add(host)
            guards = _NONE
            session = await self._dial(host, guards)
        try:
            await self._look(session)
            session.is_guarded = bool(guards) and not session.is_pooled
        except BaseException:
            session.terminate()
            raise
        return session

    async def _look(self, session: PostgresSession) -> None:
        """Tell a pooler, which hands out other servers' sessions; refuse one that is too old."""
        untyped: Any = session
        pid, is_own_name = await untyped.fetchrow(_LOOK)
        session.is_pooled = bool(pid != untyped.get_server_pid())
        if session.is_pooled:
            self._pooled.add(session.host)
            if is_own_name:
                raise PoolerRefusedError(_OLD_POOLER)
        else:
            self._pooled.discard(session.host)

    async def _dial(self, host: Host | None, guards: Mapping[str, str]) -> PostgresSession:
        place = {} if host is None else {"host": host.name, "port": host.port}
        driver: Any = asyncpg
        session: PostgresSession = await driver.connect(
            f"postgresql://?{urlencode(self._driver())}",
            **place,
            user=self.url.user,
            password=self.url.password,
            database=self.url.database,
            server_settings={**self._server, **guards},
            connection_class=PostgresSession,
            record_class=AnyRow,
            timeout=self.seconds,
            command_timeout=self._longest,
            **self._tls(),
        )
        session.host = host
        return session

    def _driver(self) -> Mapping[str, str]:
        given = dict(self.url.driver)
        if len(self.url.hosts) > 1:  # of several, one that takes changes is wanted
            given.setdefault("target_session_attrs", "read-write")
        return given

    def _tls(self) -> Mapping[str, Any]:
        """The certificates of the system, which the driver does not know as libpq's word for them."""
        if self.url.driver.get("sslrootcert") != "system":
            return {}
        return {"ssl": ssl.create_default_context()}
