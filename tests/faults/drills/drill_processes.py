"""Faults of our own processes: ends, freezes, twins, wrong keys, few file descriptors."""

import asyncio
import base64
import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import psutil
import pytest

from tests.faults.drills.drill import add_fault, drill, query, submit_many, until_ended
from tests.faults.harness.rig import HOST, Rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import SHORT

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HELD = "SELECT lease_token FROM job WHERE state = 'submitting' AND lease_token IS NOT NULL"

_FOUR_PROCESSES = "SELECT 1 FROM process HAVING count(*) = 4"


async def test_05_sigterm_during_work_loses_no_attempt(rig: Rig) -> None:
    async with drill(rig, "5 SIGTERM") as history:
        world = history.world
        worker = await world.work()
        load = asyncio.create_task(submit_many(history, 60, 3.0, run=0.5))
        await asyncio.sleep(1.5)
        following = await world.work()
        assert await worker.stop() == 0
        assert world.api is not None
        await asyncio.sleep(0.5)
        assert await world.api.stop() == 0
        await world.serve()
        await load
        assert following.alive
    doubts = await query(world, "SELECT 1 FROM job_event WHERE type LIKE 'submit.%'")
    again = await query(world, "SELECT 1 FROM delivery WHERE attempts > 1")
    assert (doubts, again) == ([], [])


async def test_01_the_work_of_a_killed_worker_goes_on_within_35_seconds(rig: Rig) -> None:
    async with drill(rig, "kill -9 of the only worker") as history:
        world = history.world
        worker = await world.work()
        for tenant in world.tenants:
            await add_fault(rig, tenant, "submit", {"type": "delay", "seconds": 1}, times=20)
        load = asyncio.create_task(submit_many(history, 100, 2.0, run=0.5))
        await asyncio.sleep(1)
        await until(lambda: query(world, _HELD), 20)
        await worker.kill()
        began = time.monotonic()
        held = [row["lease_token"] for row in await query(world, _HELD)]
        assert held
        await world.work()
        await load

        async def is_taken_over() -> bool:
            return not await query(world, f"{_HELD} AND lease_token = ANY($1::uuid[])", held)

        await until(is_taken_over, 60)
        took = time.monotonic() - began
    print(f"\nthe last row was taken over after {took:.1f} s")
    assert took < 35


async def test_06_a_frozen_worker_wakes_up_too_late(rig: Rig) -> None:
    async with drill(rig, "6 SIGSTOP", policy=SHORT) as history:
        world = history.world
        for tenant in world.tenants:
            await add_fault(rig, tenant, "submit", {"type": "delay", "seconds": 0.5}, times=10)
        zombie = await world.work()
        load = asyncio.create_task(submit_many(history, 40, 2.0, run=0.5))
        await asyncio.sleep(1.0)
        zombie.signal(signal.SIGSTOP)
        await world.work()
        await asyncio.sleep(10)
        zombie.signal(signal.SIGCONT)
        await load


async def test_30_three_sweepers_at_once(rig: Rig) -> None:
    async with drill(rig, "30 three sweepers", policy=SHORT) as history:
        world = history.world
        workers = [await world.work() for _ in range(3)]
        load = asyncio.create_task(submit_many(history, 60, 6.0, run=0.5, deadline=20))
        for worker in workers[:2]:
            await asyncio.sleep(2)
            await worker.kill()
            await world.work()
        await load


async def test_33_a_worker_with_the_wrong_master_key(rig: Rig) -> None:
    async with drill(rig, "33 wrong master key") as history:
        world = history.world
        none = await world.work(GATEWAY_MASTER_KEY="")
        assert await none.ended() != 0
        other = base64.b64encode(os.urandom(32)).decode()
        wrong = await world.work(GATEWAY_MASTER_KEY=other)
        assert await wrong.ended() != 0  # it does not open what is stored
        await submit_many(history, 10)
        states = await query(world, "SELECT DISTINCT state FROM job")
        assert [row["state"] for row in states] == ["accepted"]
        await world.work(GATEWAY_MASTER_KEY=f"{other},{rig.master_key}")
    assert {row["state"] for row in await query(world, "SELECT state FROM job")} == {"succeeded"}


async def test_36_one_key_fifty_times_at_once(rig: Rig) -> None:
    async with drill(rig, "36 same Idempotency-Key") as history:
        world, tenant = history.world, history.world.tenants[0]
        await world.work()
        entries = await asyncio.gather(*(history.submit(tenant, key="same") for _ in range(50)))
        assert len({entry.job_id for entry in entries}) == 1
        other = {"name": "other", "workflow": "audio-encoder", "params": {}}
        answer = await world.ask("POST", "/v1/job", tenant.key, other, idempotency_key="same")
        assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
        assert len(await query(world, "SELECT 1 FROM job")) == 1


@pytest.mark.parametrize("skew", [600, -600])
async def test_29_the_clock_of_one_worker_is_wrong(rig: Rig, skew: int) -> None:
    async with drill(rig, f"29 clock skew {skew:+} s", policy=SHORT) as history:
        world = history.world
        wrong = await world.work(faults={"skew": skew})
        load = asyncio.create_task(submit_many(history, 40, 4.0, run=0.5))
        await asyncio.sleep(2)
        await world.work()
        await asyncio.sleep(2)
        await wrong.kill()
        await load
    early = "SELECT 1 FROM job WHERE completed_at < created_at OR started_at < created_at"
    assert await query(world, early) == []
    assert await query(world, "SELECT 1 FROM job WHERE submit_attempts > 2") == []


async def test_34_the_api_runs_out_of_files(rig: Rig) -> None:
    async with drill(rig, "34 API, 80 files", links=False, faults={"nofile": 80}) as history:
        world = history.world
        await world.work()
        await submit_many(history, 10)
        async with AsyncExitStack() as idle:
            for _ in range(150):
                await idle.enter_async_context(_idle_connection(world.port))
            assert world.api is not None
            api = psutil.Process(world.api.pid)
            load = asyncio.create_task(submit_many(history, 20))
            await asyncio.sleep(2)
            assert api.num_fds() >= 79
        await load
        assert world.api.alive
        await submit_many(history, 10)


async def test_34_a_worker_runs_out_of_files(rig: Rig) -> None:
    async with drill(rig, "34 worker, 48 files", links=False) as history:
        world = history.world
        worker = await world.work(faults={"nofile": 48})
        for tenant in world.tenants:
            await add_fault(rig, tenant, "submit", {"type": "delay", "seconds": 0.5}, times=100)
            await rig.behave(f"/hook/{tenant.slug}", delaySeconds=0.5, times=100)
        load = asyncio.create_task(submit_many(history, 100, 2.0, run=0.2))
        process = psutil.Process(worker.pid)

        async def is_out_of_files() -> bool:
            return process.num_fds() >= 47

        await until(is_out_of_files, 20)
        await load
        await until_ended(history, history.entries, 60)
        assert worker.alive


@asynccontextmanager
async def _idle_connection(port: int) -> AsyncGenerator[None]:
    _, writer = await asyncio.open_connection(HOST, port)
    try:
        yield
    finally:
        writer.transport.abort()


async def test_44_one_of_two_of_each_is_killed(rig: Rig) -> None:
    """Two API processes share a port, and two workers the work; one of each dies, and nobody replaces it."""
    async with drill(
        rig, "44 one of two of each killed", links=False, GATEWAY_SHARE_PORT="true"
    ) as history:
        world, first = history.world, history.world.api
        assert first is not None
        second = await world.serve()
        workers = [await world.work() for _ in range(2)]
        await until(lambda: query(world, _FOUR_PROCESSES), 20)
        load = asyncio.create_task(submit_many(history, 200, 8.0, run=0.3))
        await asyncio.sleep(3)
        await asyncio.gather(first.kill(), workers[0].kill())
        await load
        assert second.alive
        assert workers[1].alive
