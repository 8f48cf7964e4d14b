"""Readiness: whether Postgres can be used, and the one reason why not."""

import asyncio
from functools import cache
from typing import Literal, NamedTuple
from uuid import UUID

from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.store.database import Database
from gateway.store.migration.migrate import newest_revision, revision
from gateway.store.migration.preflight import encoding_fault

_SECONDS = 1.0
_NOBODY = UUID(int=0)

State = Literal["ok", "database away", "database unfit", "schema behind"]


class Readiness(NamedTuple):
    """What can be told to anybody: the cause names neither host nor login."""

    status: State
    cause: str = ""


async def readiness(deps: Deps) -> Readiness:
    """Ask Postgres for all that requests and workers need of it; takes a second at the most."""
    return await readiness_of(deps.db)


async def readiness_of(database: Database, seconds: float = _SECONDS) -> Readiness:
    """The same for a pool by itself; waits for so many seconds at the most."""
    try:
        async with asyncio.timeout(seconds):
            return await _ask(database)
    except TimeoutError:
        return Readiness("database away", "no answer within a second")
    except Unavailable as error:
        return Readiness("database away", error.brief)


async def _ask(db: Database) -> Readiness:
    async with db.single() as tx:
        present = await revision(tx)
    fault = encoding_fault(await db.server_encoding())
    if fault:
        return Readiness("database unfit", fault)
    # A newer schema serves this code too: changes expand first and contract later.
    if present is None or present < needed_revision():
        cause = f"the schema is at {present or 'nothing'}, and {needed_revision()} is needed"
        return Readiness("schema behind", f"{cause}: run `gateway db upgrade`")
    async with db.of(_NOBODY) as tx:  # the role of tenants may be taken on
        await tx.rows("SELECT 1")
    return Readiness("ok")


@cache
def needed_revision() -> str:
    """The oldest revision of the schema that this version can work on."""
    return newest_revision() or ""
