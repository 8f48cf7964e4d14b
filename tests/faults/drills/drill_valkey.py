"""Faults of Valkey: emptied, killed, full, read-only, stalled, told twice."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from tests.adapters.redis.test_redis_kinds import until_known, until_replicated
from tests.faults.drills.drill import drill, submit_many, until_ended
from tests.faults.harness.history import History
from tests.faults.harness.rig import Rig
from tests.faults.harness.waiting import until
from tests.redis_kinds import redis_server, sentinel_lines

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_07_flushall_again_and_again(rig: Rig) -> None:
    async with drill(rig, "7 FLUSHALL", seconds=20, links=False) as history:
        await history.world.work()
        load = asyncio.create_task(submit_many(history, 100, 6.0, run=0.5))
        async with Redis.from_url(rig.valkey.url) as valkey:
            while not load.done():
                await valkey.flushall()
                await asyncio.sleep(0.5)
        await load


async def test_08_valkey_dies_stays_away_and_comes_back_empty(rig: Rig) -> None:
    async with drill(rig, "8 Valkey killed", seconds=15, links=False) as history:
        world = history.world
        await world.work()
        await submit_many(history, 10)
        await rig.valkey_server.kill()
        try:
            began = time.monotonic()
            await submit_many(history, 40, 2.0)
            took = await until_ended(history, history.entries, 30)
            assert history.calls["failed"] == history.calls["unknown"] == 0
            assert not await _is_connected(history)
        finally:
            await rig.valkey_server.start()
        print(f"\n8: 40 jobs without Valkey took {time.monotonic() - began:.1f} s ({took:.1f} s)")
        await until(lambda: _is_connected(history), 10)
        await submit_many(history, 10)


@pytest.mark.parametrize("eviction", ["noeviction", "allkeys-random"])
async def test_09_valkey_is_full(rig: Rig, eviction: str) -> None:
    async with drill(rig, f"9 Valkey full, {eviction}", seconds=20, links=False) as history:
        await history.world.work()
        async with Redis.from_url(rig.valkey.url) as valkey:
            await valkey.config_set("maxmemory-policy", eviction)
            await valkey.config_set("maxmemory", "1")
            try:
                await submit_many(history, 40, 3.0)
                await until_ended(history, history.entries, 30)
            finally:
                await valkey.config_set("maxmemory", "0")
        assert history.calls["failed"] == history.calls["unknown"] == 0


async def test_10_valkey_is_a_replica_for_a_while(rig: Rig) -> None:
    async with drill(rig, "10 Valkey read-only", seconds=20, links=False) as history:
        await history.world.work()
        async with Redis.from_url(rig.valkey.url) as valkey:
            await valkey.replicaof("127.0.0.1", 1)
            try:
                await submit_many(history, 40, 3.0)
                await until_ended(history, history.entries, 30)
            finally:
                await valkey.replicaof("NO", "ONE")
        assert history.calls["failed"] == history.calls["unknown"] == 0


async def test_08_the_link_to_valkey_stalls(rig: Rig) -> None:
    async with drill(rig, "8 link to Valkey stalls", seconds=15) as history:
        world = history.world
        assert world.links is not None
        await world.work()
        await submit_many(history, 5)
        world.links.valkey.stall()
        await submit_many(history, 20, 4.0)
        await until_ended(history, history.entries, 40)
        assert history.calls["failed"] == history.calls["unknown"] == 0


async def test_31_wake_ups_that_come_twice_and_jobs_of_arq_that_are_gone(rig: Rig) -> None:
    async with drill(rig, "31 duplicate wake-ups", links=False) as history:
        world = history.world
        for _ in range(2):
            await world.work()
        load = asyncio.create_task(submit_many(history, 60, 4.0, run=0.3))
        async with Redis.from_url(world.env["GATEWAY_REDIS_URL"]) as valkey:
            number = 0
            while not load.done():
                waiting = await valkey.zrange("gateway:queue", 0, -1)
                keys = [key async for key in valkey.scan_iter("arq:job:*")]
                if keys:
                    await valkey.delete(*keys[::2])
                for name in waiting:
                    if b"again" in name:
                        continue  # else their number would double with each round
                    number += 1
                    await valkey.zadd("gateway:queue", {name + b"again%d" % number: 0})
                await asyncio.sleep(0.05)
        await load


async def test_43_a_replica_takes_over(rig: Rig, tmp_path: Path) -> None:
    """The master is killed under load, and the Sentinel promotes the replica."""
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        master = await start(redis_server(tmp_path / "master"))
        follow = f"replicaof 127.0.0.1 {master.port}"
        replica = await start(redis_server(tmp_path / "replica", follow))
        await until_replicated(f"redis://{replica.place}")
        lines = sentinel_lines(master)
        sentinel = await start(redis_server(tmp_path / "sentinel", *lines, sentinel=True))
        url = f"redis+sentinel://{sentinel.place}/cache"
        await until_known(url)
        history = await start(
            drill(rig, "43 Valkey failover", seconds=20, links=False, GATEWAY_REDIS_URL=url)
        )
        for _ in range(2):
            await history.world.work()
        await until(lambda: _is_connected(history), 10)
        load = asyncio.create_task(submit_many(history, 200, 10.0, run=0.5))
        await asyncio.sleep(3)
        await master.end()
        began = time.monotonic()
        await until(lambda: _is_disconnected(history), 10)
        await until(lambda: _is_connected(history), 20)
        print(f"\n43: connected to the replica {time.monotonic() - began:.1f} s after the kill")
        await load
        assert history.calls["failed"] == history.calls["unknown"] == 0


async def _is_disconnected(history: History) -> bool:
    return not await _is_connected(history)


async def _is_connected(history: History) -> bool:
    answer: httpx.Response = await history.world.ask("GET", "/health/ready", "")
    assert answer.status_code == 200
    return answer.json()["redis"]
