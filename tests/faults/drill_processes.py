"""Faults of our own processes: ends, freezes, twins, wrong keys, few file descriptors."""

import asyncio
import base64
import os
import signal
import time

import pytest

from tests.faults.drills import add_fault, drill, query, submit_many
from tests.faults.rig import Rig
from tests.faults.waiting import until
from tests.faults.world import SHORT

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HELD = "SELECT lease_token FROM job WHERE state = 'submitting' AND lease_token IS NOT NULL"


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


async def test_05_the_work_of_a_killed_worker_goes_on_within_35_seconds(rig: Rig) -> None:
    async with drill(rig, "kill -9 of the only worker") as history:
        world = history.world
        worker = await world.work()
        for tenant in world.tenants:
            await add_fault(rig, tenant, "submit", {"type": "delay", "seconds": 1}, times=20)
        load = asyncio.create_task(submit_many(history, 100, 2.0, run=0.5))
        await asyncio.sleep(1.5)
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
        other = base64.b64encode(os.urandom(32)).decode()
        wrong = await world.work(GATEWAY_MASTER_KEY=other)
        await submit_many(history, 10)
        await asyncio.sleep(3)
        states = await query(world, "SELECT DISTINCT state FROM job")
        assert [row["state"] for row in states] == ["accepted"]
        await wrong.stop()
        # As if the five minutes had gone by after which a rejected credential is tried again.
        await query(world, "UPDATE credential SET paused_until = now()")
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
