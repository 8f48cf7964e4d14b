"""Wait until the server shows that another connection does something."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from gateway.store.database import Database

T = TypeVar("T")

_WAITING = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'"""


async def until(db: Database, sql: str, *arguments: object) -> None:
    """Return once a statement answers true."""
    async with db.single() as tx:
        while True:
            row = await tx.row(sql, *arguments)
            if row is not None and row[0]:
                return
            await asyncio.sleep(0.005)


async def blocked(db: Database, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
    """Start work and return once it waits for a lock that another transaction holds."""
    task = asyncio.create_task(work)
    waiting = asyncio.create_task(until(db, _WAITING))
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    assert waiting.done(), "it did not wait for a lock"
    await waiting
    return task
