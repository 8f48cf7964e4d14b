"""The tests of accepting jobs and batches again, on a database whose jobs are in partitions."""

import asyncio

import pytest

from tests.flows.accept.test_acceptor import *  # noqa: F403
from tests.flows.accept.test_batch import *  # noqa: F403
from tests.partitioned import partition_jobs


@pytest.fixture(scope="module")
def database_url(database_url: str) -> str:
    """The jobs of this module are in partitions."""
    asyncio.run(partition_jobs(database_url))
    return database_url
