"""The lock that lets one upgrade run at a time, and messages about the sessions that block it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from gateway.store.connection.connect import PostgresConnector

# The key of the advisory lock: any number that nothing else uses.
LOCK = 7_203_115_489
_LOOK_AGAIN_SECONDS = 0.1
_SILENT_SECONDS = 1.0
_REPEAT_SECONDS = 15.0
# Building an index on a large table takes long. After this time the holder counts as forgotten.
_LONGEST_SECONDS = 600.0
_SESSIONS = """
SELECT a.pid, a.usename AS login, COALESCE(NULLIF(a.application_name, ''), 'no name') AS name,
  COALESCE(host(a.client_addr), 'this machine') AS host, a.state,
  extract(epoch FROM clock_timestamp() - COALESCE(a.xact_start, a.backend_start))::int AS seconds
FROM pg_stat_activity a WHERE a.pid = ANY({pids})"""
_LOCK_HOLDERS = _SESSIONS.format(
    pids=f"ARRAY(SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    f" AND (classid::bigint << 32 | objid::bigint) = {LOCK}"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)
_BLOCKERS = _SESSIONS.format(pids="pg_blocking_pids($1)")

Tell = Callable[[str], None]


class NoTurnError(Exception):
    """Another upgrade did not end in time; the message names its session."""


@asynccontextmanager
async def turn(
    connector: PostgresConnector,
    pid: int,
    lock: Any,  # noqa: ANN401
    tell: Tell,
) -> AsyncGenerator[None]:
    """Within the block no other upgrade runs; `lock` tries to take the lock and returns whether it did.

    `tell` gets a message about the sessions that block `pid`, at most once a second. Raises NoTurnError.
    """
    watcher = await connector.connect()
    untyped: Any = watcher
    watching: asyncio.Task[None] | None = None
    try:
        await _wait(untyped, lock, tell)
        watching = asyncio.create_task(_watch(untyped, pid, tell))
        yield
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
        watcher.terminate()


async def _wait(watcher: Any, lock: Any, tell: Tell) -> None:  # noqa: ANN401
    # Not by waiting in a statement, because CREATE INDEX CONCURRENTLY waits for all statements to end.
    loop = asyncio.get_running_loop()
    started, told_at = loop.time(), 0.0
    while not await lock(LOCK):
        waited = loop.time() - started
        if waited > _LONGEST_SECONDS:
            raise NoTurnError(
                f"another upgrade holds the schema: {await _describe(watcher, _LOCK_HOLDERS)}"
            )
        if waited > _SILENT_SECONDS and loop.time() - told_at > _REPEAT_SECONDS:
            told_at = loop.time()
            tell(f"Waiting for another upgrade: {await _describe(watcher, _LOCK_HOLDERS)}")
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


async def _watch(watcher: Any, pid: int, tell: Tell) -> None:  # noqa: ANN401
    told = ""
    while True:
        await asyncio.sleep(_SILENT_SECONDS)
        blockers = await _describe(watcher, _BLOCKERS, pid)
        if blockers and blockers != told:
            told = blockers
            tell(f"Waiting for a lock that is held by: {blockers}")


async def _describe(watcher: Any, sql: str, *arguments: object) -> str:  # noqa: ANN401
    found = await watcher.fetch(sql, *arguments)
    return "; ".join(
        f"{one.login} at {one.host} ({one.name}, pid {one.pid}, {one.state})" for one in found
    )
