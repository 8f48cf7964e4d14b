"""A gateway with a read replica: who answered which request, by the logs of two real servers."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from gateway.flows.process.read_replica import Fitness, Replica, watching
from gateway.store.database import open_database
from tests.real_servers.postgres import RealPostgres, run_sql
from tests.web.conftest import World

LOGIN = "history"
JOBS = "WITH RECURSIVE found"  # what only the statement for pages of jobs says
_SECONDS = 20.0
_STATEMENT = re.compile(r"LOG:  (?:execute \S+|statement): ")


@dataclass
class Watched:
    """An application whose replica is checked, and each change of the replica that was told."""

    replica: Replica
    told: list[Fitness]
    client: httpx.AsyncClient

    @property
    def codes(self) -> list[str]:
        return [one.code for one in self.told]

    async def becomes(self, code: str) -> Fitness:
        async with asyncio.timeout(_SECONDS):
            while self.replica.fitness.code != code:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.02)
        return self.replica.fitness


@dataclass
class Servers:
    """A primary and its standby, which log each statement of the gateway."""

    primary: RealPostgres
    standby: RealPostgres
    seen: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def url(self) -> str:
        return self.standby.url(LOGIN, LOGIN)

    async def pause(self) -> None:
        """Have the standby fall behind."""
        await sql(self.standby.url(), "SELECT pg_wal_replay_pause()")

    async def resume(self) -> None:
        await sql(self.standby.url(), "SELECT pg_wal_replay_resume()")

    def forget(self) -> None:
        """Count only what comes from now on."""
        self._new(self.primary)
        self._new(self.standby)

    def who_answered(self, *words: str) -> set[str]:
        """Which of the two ran a statement with one of these words since the last look."""
        found = {"primary": self._new(self.primary), "standby": self._new(self.standby)}
        return {
            name
            for name, statements in found.items()
            if any(word in one for one in statements for word in words)
        }

    def _new(self, server: RealPostgres) -> list[str]:
        text = (server.folder / "log").read_text()
        start = self.seen.get(str(server.folder), 0)
        self.seen[str(server.folder)] = len(text)
        return _STATEMENT.split(text[start:])[1:]


@asynccontextmanager
async def watched(world: World, url: str, most_lag: float = 15.0) -> AsyncIterator[Watched]:
    """An application of its own, with this server as its replica; a busy machine makes it lag by seconds."""
    deps, told = world.deps, list[Fitness]()
    database = open_database(url, pool=5, name="history reads")
    replica = Replica(database, deps.db, deps.clock, most_lag, told.append)
    try:
        async with watching(replica):
            yield Watched(replica, told, await world.serve(replica=replica))
    finally:
        await database.close()


async def jobs(world: World, slug: str, query: str = "") -> list[str]:
    """The ids in the first page of a tenant's jobs."""
    return [one["id"] for one in await world.get(f"/v1/job?size=100{query}", slug)]


async def sql(url: str, *statements: str) -> list[Any]:
    return await asyncio.to_thread(run_sql, url, *statements)
