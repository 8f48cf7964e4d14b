"""The tests of jobs and of their claims again, on a database whose jobs are in partitions."""

import asyncio

import pytest

from tests.partitioned import partition_jobs
from tests.store.work.test_jobs import *  # noqa: F403
from tests.store.work.test_settlement import *  # noqa: F403
from tests.store.work.test_submits import *  # noqa: F403


@pytest.fixture(scope="module")
def database_url(database_url: str) -> str:
    """The jobs of this module are in partitions."""
    asyncio.run(partition_jobs(database_url))
    return database_url
