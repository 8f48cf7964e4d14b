"""What all drills share: a world under load, the end of its faults, and the check at the end."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.faults.checker import check
from tests.faults.harness.drain import drain
from tests.faults.harness.history import Entry, History
from tests.faults.harness.rig import Rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import Faults, World, start_world

KEEPER_SECONDS = 0.2
_SHOWN = 20

TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""

_OWE = """
WITH made AS (
  INSERT INTO event (id, tenant_id, type, body)
  SELECT gen_random_uuid(), p.tenant_id, 'test.ping', $2
  FROM endpoint p CROSS JOIN generate_series(1, $3) WHERE p.id = $1::uuid
  RETURNING id, tenant_id
)
INSERT INTO delivery (id, tenant_id, event_id, endpoint_id, lane)
SELECT gen_random_uuid(), tenant_id, id, $1::uuid, $1::uuid FROM made"""


@asynccontextmanager
async def drill(
    rig: Rig, name: str, *, seconds: float = 60, links: bool = True, **world_args: Any
) -> AsyncGenerator[History]:
    """A world to break in the block; afterwards it is healed, comes to rest, and is checked."""
    async with start_world(rig, links=links, **world_args) as world:
        history = History(world)
        try:
            yield history
            if world.links is not None:
                world.links.heal()
            rest = await drain(world, seconds)
            breaches = await check(history)
            assert not breaches, "\n".join([*breaches[:_SHOWN], f"{len(breaches)} breaches"])
        except BaseException:
            print(world.complaints())
            raise
        print(f"\n{name}: at rest {rest:.1f} s after the drill, calls {history.calls}")


@asynccontextmanager
async def supervised(
    world: World, workers: int = 1, faults: Faults | None = None, **env: str
) -> AsyncGenerator[None]:
    """So many workers run during the block: each that ends is started again, as deployments do."""

    async def keep() -> None:
        while True:
            for _ in range(workers - sum(worker.alive for worker in world.workers)):
                await world.work(faults=faults, **env)
            await asyncio.sleep(KEEPER_SECONDS)

    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def submit_many(history: History, count: int, seconds: float = 0.0, **changes: Any) -> None:
    """Submit jobs for the tenants in turn, spread over so many seconds."""
    tenants = history.world.tenants

    async def one(number: int) -> None:
        await asyncio.sleep(seconds * number / count)
        await history.submit(tenants[number % len(tenants)], **changes)

    await asyncio.gather(*(one(number) for number in range(count)))


@asynccontextmanager
async def steady_load(
    history: History, per_second: float = 12.0, **changes: Any
) -> AsyncGenerator[None]:
    """Jobs are submitted for the tenants in turn, for as long as the block runs."""
    ended = asyncio.Event()

    async def submit_on() -> None:
        tenants = itertools.cycle(history.world.tenants)
        async with asyncio.TaskGroup() as calls:
            while not ended.is_set():
                calls.create_task(history.submit(next(tenants), **changes))
                await asyncio.sleep(1 / per_second)

    load = asyncio.create_task(submit_on())
    try:
        yield
    except BaseException:
        load.cancel()
        raise
    finally:
        ended.set()
        await asyncio.wait([load])
    load.result()


async def until_refused(history: History, seconds: float) -> None:
    """Wait until a call has failed."""

    async def is_refused() -> bool:
        return history.calls["failed"] > 0

    await until(is_refused, seconds)


async def until_ended(history: History, entries: Sequence[Entry], seconds: float) -> float:
    """Wait until these jobs have ended, by what the API says; how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        for entry in entries:
            while True:
                job = await history.read(entry)
                if job is not None and job["status"] in ("SUCCEEDED", "FAILED"):
                    break
                await asyncio.sleep(0.1)
    return time.monotonic() - began


async def query(world: World, sql: str, *arguments: object) -> list[Any]:
    """Rows of the world's database, past every proxy."""
    connection = await asyncpg.connect(world.database.replace("+asyncpg", ""))
    try:
        return await connection.fetch(sql, *arguments)
    finally:
        await connection.close()


async def owe(world: World, endpoint_id: str, count: int) -> None:
    """Owe so many webhooks of a test to an endpoint, all of them due."""
    body = json.dumps({"type": "test.ping", "timestamp": "2026-01-01T00:00:00Z", "data": {}})
    await query(world, _OWE, endpoint_id, body, count)


async def add_fault(rig: Rig, tenant: Any, route: str, action: Any, **more: Any) -> None:
    """Have the simulator misbehave towards one tenant."""
    match = {"route": route, "key": tenant.upstream_key}
    await rig.control("/faults", {"match": match, "action": action, **more})
