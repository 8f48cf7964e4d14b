"""One rig for each module."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.faults.harness.rig import Rig, start_rig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[Rig]:
    async with start_rig() as started:
        yield started
