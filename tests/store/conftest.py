from collections.abc import AsyncIterator

import pytest

from gateway.store.database import Database, Tx, open_database
from gateway.store.schema import metadata


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The pool of a process, on a database without rows."""
    database = open_database(database_url, pool=5, name="tests")
    async with database.begin() as tx:
        for table in reversed(metadata.sorted_tables):
            if table.name != "beacon":  # its one row is there from the first migration on
                await tx.run(f"DELETE FROM {table.name}")
        await tx.run("DELETE FROM tenant_load")  # which counts the deletions of jobs
        await tx.run("UPDATE beacon SET count = 0, epoch = 0, horizon = 0, cluster = NULL")
    yield database
    await database.close()


@pytest.fixture
async def tx(db: Database) -> AsyncIterator[Tx]:
    """A transaction around the whole test, in which time stands still."""
    async with db.begin() as tx:
        yield tx
