"""Clusters of Debian's PostgreSQL that the commands of a page work on."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.real_servers.pages.cluster import Cluster, start_cluster


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """A cluster that commands of an administrator start and stop."""
    async with start_cluster() as started:
        yield started


@pytest_asyncio.fixture
async def other_cluster() -> AsyncIterator[Cluster]:
    """One more, with nothing in it."""
    async with start_cluster() as started:
        yield started
