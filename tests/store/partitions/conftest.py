import asyncio

import pytest

from tests.partitioned import partition_jobs


@pytest.fixture(scope="module")
def partitioned_url(database_url: str) -> str:
    """The database of the module, with a month of its own for the jobs of last month and later."""
    asyncio.run(partition_jobs(database_url))
    return database_url
