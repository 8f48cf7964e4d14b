from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.simulator.server import Simulator
from tests.simulator.driver import Driver


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator(seed=7)
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
async def driver(simulator: Simulator) -> AsyncIterator[Driver]:
    async with httpx.AsyncClient(base_url=simulator.api.base, timeout=10, verify=False) as http:
        yield Driver(http)
