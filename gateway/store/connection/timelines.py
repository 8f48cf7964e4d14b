"""Tell the primary from a former one: after a failover both of a URL's servers may take changes.

A promotion begins a new timeline, which the former primary lacks. So of the servers of one cluster that take
changes, the one with the newest timeline is the primary.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from gateway.config.postgres_url import Host
from gateway.store.connection.failure_causes import FormerPrimaryError

# A host that does not answer must leave time to connect to another one.
_LOOK_SECONDS = 0.8
_LOOK_AGAIN_SECONDS = 5.0
_ASK = """
SELECT system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()"""
_NO_ANSWER = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


class Timeline(NamedTuple):
    """A timeline of a cluster; later ones sort after earlier ones."""

    cluster: int
    number: str


class Timelines:
    """The newest timeline of each cluster that this process has seen."""

    def __init__(self, connect_to: Callable[[Host | None], Awaitable[Any]]) -> None:
        self._connect_to = connect_to
        self._newest: dict[int, str] = {}
        self._look: asyncio.Task[Sequence[Timeline | None]] | None = None
        self._looked_at = 0.0

    async def check(self, session: asyncpg.Connection) -> Timeline | None:
        """The timeline of a server; raises FormerPrimaryError if it is older than the newest."""
        timeline = await self._timeline_of(session)
        if self.is_old(timeline):
            raise FormerPrimaryError("another server was promoted after it")
        return timeline

    def is_old(self, timeline: Timeline | None) -> bool:
        """Whether a newer timeline of the same cluster was seen."""
        return timeline is not None and timeline.number < self._newest[timeline.cluster]

    async def sorted(self, hosts: Sequence[Host | None]) -> list[Host | None]:
        """The hosts in the order to try them: first those that answer as the primary."""
        look = self.look_around(hosts, _LOOK_AGAIN_SECONDS)
        found = dict(zip(sorted(hosts, key=str), await asyncio.shield(look), strict=True))
        return sorted(hosts, key=lambda host: found[host] is None or self.is_old(found[host]))

    def look_around(
        self, hosts: Sequence[Host | None], seconds: float
    ) -> asyncio.Task[Sequence[Timeline | None]]:
        """Ask all hosts at the same time, unless they were asked in the last so many seconds."""
        loop = asyncio.get_running_loop()
        if self._look is None or loop.time() - self._looked_at > seconds:
            self._looked_at = loop.time()
            self._look = loop.create_task(self._ask_all(sorted(hosts, key=str)))
        return self._look

    def close(self) -> None:
        """Stop looking."""
        if self._look is not None:
            self._look.cancel()

    async def _ask_all(self, hosts: Sequence[Host | None]) -> Sequence[Timeline | None]:
        return await asyncio.gather(*(self._ask(host) for host in hosts))

    async def _ask(self, host: Host | None) -> Timeline | None:
        with suppress(*_NO_ANSWER):
            async with asyncio.timeout(_LOOK_SECONDS):
                session = await self._connect_to(host)
                try:
                    return await self._timeline_of(session)
                finally:
                    session.terminate()
        return None

    async def _timeline_of(self, session: asyncpg.Connection) -> Timeline | None:
        """None of a standby, and where the login may not ask."""
        untyped: Any = session
        try:
            found = Timeline(*await untyped.fetchrow(_ASK))
        except asyncpg.PostgresError:
            return None
        self._newest[found.cluster] = max(found.number, self._newest.get(found.cluster, ""))
        return found
