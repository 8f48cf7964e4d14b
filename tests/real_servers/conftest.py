"""Servers of the system for the tests of this folder; skipped with a reason where they are missing."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.real_servers.cluster import Cluster, start_cluster
from tests.real_servers.postgres import RealPostgres, real_postgres
from tests.web.conftest import acme, module_world, world  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def server() -> Iterator[RealPostgres]:
    """Debian's PostgreSQL, over TLS by a private authority."""
    with real_postgres() as started:
        yield started


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
