"""A world for every test of a flow."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.core.cipher import Cipher
from gateway.core.schedule import Policy
from gateway.flows.deps import Deps
from gateway.flows.process.slots import Slots
from gateway.store.database import open_database
from tests.fakes import FakeIds, FakeLimiter, FakeObserver, FakeQueue
from tests.flows.fakes import ScriptedSender, ScriptedUpstream, StepClock
from tests.flows.world import TABLES, World, async_url


@asynccontextmanager
async def open_world(url: str) -> AsyncGenerator[World]:
    """A world without tenants; it fails at its end if any work in it failed."""
    database = open_database(async_url(url), pool=6, name="test")
    upstream, sender, clock = ScriptedUpstream(), ScriptedSender(), StepClock()
    queue, observer = FakeQueue(), FakeObserver()
    deps = Deps(
        db=database,
        upstream=upstream,
        catalogue=upstream,
        sender=sender,
        queue=queue,
        limiter=FakeLimiter(),
        clock=clock,
        ids=FakeIds(seed=None),
        observer=observer,
        cipher=Cipher([bytes(32)]),
        # One claim takes all there is, but where a test says otherwise.
        policy=Policy(window_start=100),
        upstream_url="https://upstream.invalid/v1",
        slots=Slots(clock),
    )
    world = World(deps, upstream, sender, queue, observer, clock)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: world.failures.append(context))
    try:
        await world.rows(f"TRUNCATE {TABLES}")
        yield world
        assert not world.failures
    finally:
        await deps.slots.drain(0.0)
        await database.close()


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with open_world(database_url) as made:
        yield made
