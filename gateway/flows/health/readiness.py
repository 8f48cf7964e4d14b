"""Readiness: whether Postgres can be used, and if not, the first reason.

It runs for the readiness probe and for the status. It checks the connection, the schema revision,
the encoding and the role of tenants, within a second. It writes nothing.
"""

import asyncio
from contextlib import suppress
from functools import cache
from typing import Literal, NamedTuple
from uuid import UUID

from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.store import processes
from gateway.store.database import Database
from gateway.store.migration.migrate import newest_revision, revision
from gateway.store.migration.preflight import encoding_fault

_SECONDS = 1.0
_WORKERS_SECONDS = 0.5
_NOBODY = UUID(int=0)

State = Literal["ok", "database away", "database unfit", "schema behind"]


class Readiness(NamedTuple):
    """The answer for anybody: the cause names neither host nor login."""

    status: State
    cause: str = ""


async def readiness(deps: Deps) -> Readiness:
    """Check all that requests and workers need of Postgres; takes at most a second."""
    return await readiness_of(deps.db)


async def readiness_of(database: Database, seconds: float = _SECONDS) -> Readiness:
    """Check one pool; takes at most so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await _ask(database)
    except TimeoutError:
        return Readiness("database away", "no answer within a second")
    except Unavailable as error:
        return Readiness("database away", error.brief)


async def has_workers(deps: Deps) -> bool | None:
    """Whether any worker lives; None if Postgres does not say so within half a second."""
    with suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(_WORKERS_SECONDS), deps.db.single() as tx:
            return bool((await processes.workers(tx)).alive)
    return None


async def _ask(db: Database) -> Readiness:
    async with db.single() as tx:
        present = await revision(tx)
    fault = encoding_fault((await db.link()).encoding)
    if fault:
        return Readiness("database unfit", fault)
    # A newer schema serves this code too: migrations expand first and contract later.
    if present is None or present < needed_revision():
        cause = f"the schema is at {present or 'nothing'}, and {needed_revision()} is needed"
        return Readiness("schema behind", f"{cause}: run `gateway db upgrade`")
    async with db.of(_NOBODY) as tx:  # fails if the role of tenants cannot be set
        await tx.rows("SELECT 1")
    return Readiness("ok")


@cache
def needed_revision() -> str:
    """The oldest revision of the schema that this version can work on."""
    return newest_revision() or ""
