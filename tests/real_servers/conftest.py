"""Servers of the system for the tests of this folder; skipped with a reason where they are missing."""

from collections.abc import Iterator

import pytest

from tests.real_servers.postgres import RealPostgres, real_postgres
from tests.web.conftest import acme, module_world, world  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def server() -> Iterator[RealPostgres]:
    """Debian's PostgreSQL, over TLS by a private authority."""
    with real_postgres() as started:
        yield started
