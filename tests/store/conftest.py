from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.store.database import Database, Tx
from tests.shared_pool import SharedPool, open_shared_pool, run_on_loop_of_module


def pytest_itemcollected(item: pytest.Item) -> None:
    run_on_loop_of_module(item, "db")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_pool(database_url: str) -> AsyncIterator[SharedPool]:
    """The pool that all tests of a module share."""
    async with open_shared_pool(database_url, size=5) as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="module")
async def db(shared_pool: SharedPool) -> AsyncIterator[Database]:
    """The pool, on a database without rows."""
    async with shared_pool.for_one_test() as database:
        yield database


@pytest_asyncio.fixture(loop_scope="module")
async def tx(db: Database) -> AsyncIterator[Tx]:
    """A transaction around the whole test; `now()` does not change in it."""
    async with db.begin() as tx:
        yield tx
