"""What the gateway relies on in arq beyond its guide; a failure here names the module to change."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from inspect import signature

import msgspec
import pytest
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, retry_key_prefix
from arq.worker import Worker, func
from redis.asyncio import Redis

from gateway.adapters.clock import SystemClock, SystemIds
from gateway.adapters.redis.client import connect
from gateway.adapters.wakeups.queue import ArqQueue
from gateway.adapters.wakeups.redis_commands import JOB_KEY, QUEUE
from tests.adapters.own_valkey import until

WRITER = (
    "arq stores jobs in another way than gateway/adapters/wakeups/queue.py writes them (_commands):"
    " write what ArqRedis.enqueue_job of this version writes, and plan the upgrade so that old and"
    " new workers do not share a queue."
)
READER = (
    "gateway/adapters/wakeups/arq_worker.py drives arq's Worker through start_jobs, tasks and"
    " heart_beat, and they have changed: read arq.worker.Worker._poll_iteration of this version and"
    " do in ArqWorker.start_due what it does."
)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    client = connect(redis_url, ArqRedis)
    client.job_serializer = msgspec.msgpack.encode
    client.job_deserializer = msgspec.msgpack.decode
    client.default_queue_name = QUEUE
    yield client
    await client.aclose()


async def stored(redis: Redis, job_id: str) -> tuple[dict[str, object], float | None]:
    """The stored job without its time, and its score."""
    found = await redis.get(JOB_KEY + job_id)
    assert found is not None, WRITER
    job = msgspec.msgpack.decode(found, type=dict[str, object])
    assert isinstance(job.pop("et", None), int), WRITER
    return job, await redis.zscore(QUEUE, job_id)


async def test_our_wake_ups_are_stored_as_arq_stores_its_jobs(
    redis: ArqRedis, redis_url: str
) -> None:
    async with ArqQueue(redis_url, SystemClock(), SystemIds()) as queue:
        queue.wake("poll", after=3600.0)
    ((ours, due),) = await redis.zrange(QUEUE, 0, -1, withscores=True)
    our_job = await stored(redis, ours.decode())
    lifetime = await redis.pttl(JOB_KEY + ours.decode())
    defer_until = datetime.fromtimestamp(due / 1000, UTC)
    await redis.enqueue_job("poll", _job_id="arq's", _defer_until=defer_until)
    assert await stored(redis, "arq's") == our_job, WRITER
    assert abs(await redis.pttl(JOB_KEY + "arq's") - lifetime) < 5_000, WRITER
    names = {key for key in await redis.keys("*") if b"arq's" in key}
    assert names == {b"arq:job:arq's"}, WRITER


async def test_arq_starts_the_ids_that_it_is_given(redis: ArqRedis) -> None:
    calls: list[str] = []
    may_end = asyncio.Event()

    async def run(ctx: dict[str, object]) -> None:
        calls.append(str(ctx["job_id"]))
        await may_end.wait()

    worker = Worker(
        [func(run, name="submit")],
        queue_name=QUEUE,
        redis_pool=redis,
        handle_signals=False,
        keep_result=0,
        health_check_key="gateway:health:contract",
        job_serializer=redis.job_serializer,
        job_deserializer=redis.job_deserializer,
    )
    assert list(signature(worker.start_jobs).parameters) == ["job_ids"], READER
    await redis.enqueue_job("submit", _job_id="submit:1")
    await worker.start_jobs([b"submit:1", b"unknown"])
    assert list(worker.tasks) == ["submit:1"], READER
    await until(lambda: calls == ["submit:1"])
    await worker.start_jobs([b"submit:1"])  # it runs already
    may_end.set()
    await asyncio.wait(worker.tasks.values())
    assert calls == ["submit:1"], READER
    left = [
        JOB_KEY + "submit:1",
        in_progress_key_prefix + "submit:1",
        retry_key_prefix + "submit:1",
    ]
    assert await redis.exists(QUEUE, *left) == 0, READER
    await worker.heart_beat()
    assert await redis.exists("gateway:health:contract") == 1, READER
