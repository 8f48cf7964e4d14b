"""Random SIGKILLs of workers and API, and an emptied Valkey, over a long steady load."""

import asyncio
import random
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from redis.asyncio import Redis

from tests.faults.drills.drill import KEEPER_SECONDS, supervised
from tests.faults.harness.history import History
from tests.faults.harness.world import World


@dataclass(frozen=True, slots=True)
class Storm:
    """So many jobs at so many a second, so many kills spread over them; seconds between flushes."""

    jobs: int
    rate: float
    kills: int = 0
    flush_every: float = 0.0
    workers: int = 2


@dataclass(slots=True)
class Done:
    """What was done by name, and how often."""

    counts: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, name: str) -> None:
        """Count one more."""
        self.counts[name] = self.counts.get(name, 0) + 1


async def rage(history: History, storm: Storm, chance: random.Random) -> dict[str, int]:
    """Submit all jobs under kills and flushes; what was done by the time they were accepted."""
    done, seconds = Done(), storm.jobs / storm.rate
    world = history.world
    async with supervised(world, storm.workers), _api_supervised(world):
        load = asyncio.create_task(_submit(history, storm))
        harms = [
            asyncio.create_task(_kill(world, storm.kills, seconds, chance, done)),
            asyncio.create_task(_flush(world, storm.flush_every, done)),
        ]
        await load
        await harms[0]
        harms[1].cancel()
        await asyncio.gather(harms[1], return_exceptions=True)
        await asyncio.sleep(2 * KEEPER_SECONDS)
    return done.counts


async def _submit(history: History, storm: Storm) -> None:
    tenants = history.world.tenants
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(storm.jobs):
            await asyncio.sleep(max(0.0, began + number / storm.rate - loop.time()))
            group.create_task(history.submit(tenants[number % len(tenants)], run=0.5))


async def _kill(
    world: World, kills: int, seconds: float, chance: random.Random, done: Done
) -> None:
    for _ in range(kills):
        await asyncio.sleep(chance.expovariate(kills / seconds))
        victim = chance.choice([*world.workers, world.api])
        if victim is not None:
            victim.signal(signal.SIGKILL)
            done.add("API killed" if victim is world.api else "worker killed")


async def _flush(world: World, every: float, done: Done) -> None:
    while every:
        await asyncio.sleep(every)
        async with Redis.from_url(world.rig.valkey.url) as valkey:
            await valkey.flushall()
        done.add("Valkey emptied")


@asynccontextmanager
async def _api_supervised(world: World) -> AsyncGenerator[None]:
    async def keep() -> None:
        while True:
            if world.api is None or not world.api.alive:
                with suppress(TimeoutError):  # it may be slow to answer, and stays supervised
                    await world.serve()
            await asyncio.sleep(KEEPER_SECONDS)

    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
