"""A world for every test of a flow."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.crypto.cipher import Cipher
from gateway.core.policy import Policy
from gateway.flows.deps import Deps
from gateway.flows.process.slots import Slots
from gateway.store.database import Database
from tests.fakes import FakeIds, FakeLimiter, FakeObserver, FakeQueue
from tests.flows.fakes import ScriptedSender, ScriptedUpstream, StepClock
from tests.flows.world import World
from tests.shared_pool import (
    SharedPool,
    is_dropped_by_driver,
    open_shared_pool,
    run_on_loop_of_module,
)


@asynccontextmanager
async def open_world(database: Database) -> AsyncGenerator[World]:
    """A world without tenants; it fails at its end if any work in it failed."""
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

    def note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not is_dropped_by_driver(context):
            world.failures.append(context)

    loop.set_exception_handler(note)
    try:
        yield world
        assert not world.failures
    finally:
        await deps.slots.drain(0.0)
        loop.set_exception_handler(None)


def pytest_itemcollected(item: pytest.Item) -> None:
    run_on_loop_of_module(item, "world")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_pool(database_url: str) -> AsyncIterator[SharedPool]:
    """The pool of a process."""
    async with open_shared_pool(database_url, size=6) as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared_pool: SharedPool) -> AsyncIterator[World]:
    async with shared_pool.for_one_test() as database, open_world(database) as made:
        yield made
