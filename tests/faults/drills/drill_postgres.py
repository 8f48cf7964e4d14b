"""Faults of Postgres and of the link to it."""

import asyncio
import time
from contextlib import suppress

import asyncpg
import httpx
import pytest

from tests.faults.drills.drill import TERMINATE, drill, query, submit_many
from tests.faults.harness.drain import connect
from tests.faults.harness.history import INPUT, Entry, History
from tests.faults.harness.rig import Rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

_BODY = {"name": "n", "workflow": "audio-encoder", "params": {}}


async def test_11_postgres_is_killed_and_comes_back(rig: Rig) -> None:
    async with drill(rig, "11 Postgres killed", links=False) as history:
        world = history.world
        await world.work()
        load = asyncio.create_task(submit_many(history, 60, 6.0, run=0.5))
        await asyncio.sleep(2)
        await rig.postgres_server.kill()
        try:
            for _ in range(5):
                await _is_refused_at_once(history, 2.5)
        finally:
            await rig.postgres_server.start()
        await load


async def test_11_all_backends_are_terminated_again_and_again(rig: Rig) -> None:
    async with drill(rig, "11 backends terminated", links=False) as history:
        world = history.world
        await world.work()
        load = asyncio.create_task(submit_many(history, 60, 5.0, run=0.3))
        while not load.done():
            await query(world, TERMINATE)
            await asyncio.sleep(0.3)
        await load


async def test_11_lost_connections_are_never_answered_500(rig: Rig) -> None:
    async with drill(rig, "11 connections lost at any moment") as history:
        world = history.world
        assert world.links is not None
        await world.work()
        load = asyncio.create_task(submit_many(history, 100, 4.0, run=0.3))
        proxy, number, end = world.links.postgres, 0, time.monotonic() + 5
        while time.monotonic() < end:
            await query(world, TERMINATE)
            number += 1
            proxy.limit = 200 + 40 * (number % 60) if number % 3 == 0 else None
            await asyncio.sleep(0.05)
        world.links.postgres.heal()
        await load


async def test_11_the_link_to_postgres_is_cut_then_stalls(rig: Rig) -> None:
    async with drill(rig, "11 link cut, stalled") as history:
        world = history.world
        assert world.links is not None
        await world.work()
        load = asyncio.create_task(submit_many(history, 40, 4.0, run=0.5))
        await asyncio.sleep(1)
        world.links.postgres.cut()
        await _is_refused_at_once(history, 2.5)
        world.links.postgres.heal()
        await asyncio.sleep(1)
        world.links.postgres.stall()
        await _is_refused_at_once(history, 2.5)
        world.links.postgres.heal()
        world.links.postgres.reset()
        await load


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_12_the_connection_is_lost_at_commit(rig: Rig, *, after: bool) -> None:
    async with drill(rig, f"12 reset {'after' if after else 'before'} COMMIT") as history:
        world = history.world
        assert world.links is not None
        proxy = world.links.postgres
        await world.work()
        load = asyncio.create_task(submit_many(history, 60, 5.0, run=0.3))
        while not load.done() and proxy.hits < 40:
            proxy.reset_on, proxy.after = b"COMMIT;", after
            await asyncio.sleep(0.15)
            proxy.heal()
            await asyncio.sleep(0.3)
        await load
        assert proxy.hits >= 5, proxy.hits


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_12_the_connection_is_lost_at_accept(rig: Rig, *, after: bool) -> None:
    name = f"12 reset {'after' if after else 'before'} the INSERT of accept"
    async with drill(rig, name) as history:
        world = history.world
        assert world.links is not None
        proxy = world.links.postgres
        await world.work()
        load = asyncio.create_task(submit_many(history, 60, 3.0, run=0.3))
        while not load.done() and proxy.hits < 20:
            proxy.reset_on, proxy.after = INPUT.encode(), after
            await asyncio.sleep(0.1)
            proxy.heal()
            await asyncio.sleep(0.2)
        await load
        assert proxy.hits >= 3, proxy.hits
        assert history.calls["failed"] >= 3


async def test_13_somebody_holds_a_lock_on_the_jobs(rig: Rig) -> None:
    async with drill(rig, "13 table locked", links=False) as history:
        world = history.world
        await world.work()
        await submit_many(history, 10)
        connection = await connect(world)
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE job IN ACCESS EXCLUSIVE MODE")
                await _is_refused_at_once(history, 8)
        finally:
            await connection.close()
        await submit_many(history, 10)


async def test_13_deadlocks(rig: Rig) -> None:
    """Somebody takes the tables in the opposite order, again and again."""
    async with drill(rig, "13 deadlocks", links=False) as history:
        world = history.world
        for _ in range(2):
            await world.work()
        load = asyncio.create_task(submit_many(history, 80, 5.0, run=0.2))
        while not load.done():
            with suppress(asyncpg.DeadlockDetectedError):
                await _lock_in_turn(world, "delivery", "event", "job")
            await asyncio.sleep(0.3)
        await load
        counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        await until(lambda: query(world, f"{counted} AND deadlocks > 0"), 10)


async def test_13_more_requests_than_connections(rig: Rig) -> None:
    async with drill(rig, "13 pool of two", links=False, GATEWAY_DATABASE_POOL="2") as history:
        await history.world.work()
        await submit_many(history, 200, 0.5, run=0.2)
        waiting = [
            history.world.ask("GET", "/v1/job", history.world.tenants[0].key) for _ in range(100)
        ]
        answers = await asyncio.gather(*waiting)
        assert {answer.status_code for answer in answers} <= {200, 503}


async def _lock_in_turn(world: World, *tables: str) -> None:
    connection = await connect(world)
    try:
        async with connection.transaction():
            for table in tables:
                await connection.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def _is_refused_at_once(history: History, seconds: float) -> None:
    """A submit is answered 503 within so many seconds, whatever it may have come to."""
    world, entry = history.world, Entry(history.world.tenants[0], "refused")
    history.entries.append(entry)
    began = time.monotonic()
    answer: httpx.Response = await world.ask(
        "POST", "/v1/job", entry.tenant.key, _BODY, idempotency_key=entry.idempotency_key
    )
    took = time.monotonic() - began
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert took < seconds, took
