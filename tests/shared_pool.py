"""One pool of connections for all tests of a module: opening one costs more than most tests do."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from pytest_asyncio import is_async_test

from gateway.store.database import Database, open_database
from gateway.store.schema import metadata

_EMPTY = "".join(
    f"DELETE FROM {table.name};"
    for table in reversed(metadata.sorted_tables)
    if table.name != "beacon"  # its one row is there from the first migration on
)
_RESET = "UPDATE beacon SET count = 0, epoch = 0, horizon = 0, cluster = NULL"


@dataclass(frozen=True, slots=True)
class SharedPool:
    """A pool, and a connection of its own that empties the database."""

    opened: Database
    cleaner: asyncpg.Connection

    @asynccontextmanager
    async def for_one_test(self) -> AsyncGenerator[Database]:
        """A database without rows that remembers nothing of the tests before, and ends their tasks."""
        await self.cleaner.execute(_EMPTY + _RESET)
        inner: Any = self.opened
        yield Database(inner._engine, inner._connector)
        await _end_tasks()
        for _ in range(500):  # a connection of a task that was cancelled may still be closing
            if self.opened.use.in_use:
                await asyncio.sleep(0.01)
        assert self.opened.use.in_use == 0, "the test keeps a connection"


@asynccontextmanager
async def open_shared_pool(database_url: str, size: int) -> AsyncGenerator[SharedPool]:
    """Connect to a migrated database, for the tests that run on the loop of this module."""
    opened = open_database(
        database_url.replace("postgresql://", "postgresql+asyncpg://"), pool=size, name="tests"
    )
    cleaner = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        # Neither triggers nor foreign keys have work to do where all rows go.
        await cleaner.execute("SET session_replication_role = replica")
        yield SharedPool(opened, cleaner)
    finally:
        await cleaner.close()
        await opened.close()


def run_on_loop_of_module(item: pytest.Item, fixture: str) -> None:
    """Run an async test that uses the fixture on the loop that the pool's connections belong to."""
    if is_async_test(item) and fixture in item.fixturenames:
        item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


def is_dropped_by_driver(context: dict[str, Any]) -> bool:
    """Whether asyncpg abandoned this future: of a connection that was cancelled just as it opened.

    The garbage collection reports it later, which may be in another test of the module.
    """
    error = context.get("exception")
    return isinstance(error, ConnectionError) and str(error) == "unexpected connection_lost() call"


async def _end_tasks() -> None:
    """End what a test left running, as the end of its own loop would."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
