"""ArqQueue on a real Valkey."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from arq.connections import ArqRedis
from redis.asyncio import Redis
from typing_extensions import override

from gateway.adapters.clock import SystemClock, SystemIds
from gateway.adapters.redis.client import connect
from gateway.adapters.wakeups import announcements as announcements_module
from gateway.adapters.wakeups import queue as queue_module
from gateway.adapters.wakeups.queue import ArqQueue
from gateway.adapters.wakeups.redis_commands import QUEUE, WAKE_CHANNEL, Subscription
from gateway.ports import Queue
from tests.adapters.own_valkey import OwnValkey, own_valkey, until


def new_queue(url: str) -> ArqQueue:
    return ArqQueue(url, SystemClock(), SystemIds())


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url, Redis)
    yield client
    await client.aclose()


async def waiting(redis: Redis) -> list[tuple[str, float]]:
    """Names and due times (ms) of the wake-ups in the queue, by due time."""
    found = await redis.zrange(QUEUE, 0, -1, withscores=True)
    return [(name.decode(), score) for name, score in found]


async def eventually_waiting(redis: Redis, count: int) -> list[tuple[str, float]]:
    async with asyncio.timeout(20):
        while len(found := await waiting(redis)) < count:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.005)
    return found


async def test_arq_can_read_a_wake_up(redis: Redis, redis_url: str) -> None:
    async with new_queue(redis_url) as queue:
        port: Queue = queue
        port.wake("submit")
        ((name, due),) = await eventually_waiting(redis, 1)
    arq = connect(redis_url, ArqRedis)
    arq.job_deserializer = msgspec.msgpack.decode
    (job,) = await arq.queued_jobs(queue_name=QUEUE)
    await arq.aclose()
    assert (job.function, job.args, job.kwargs, job.job_id) == ("submit", [], {}, name)
    assert due < time.time() * 1000 - 500_000, "on hosts whose clocks are behind, too"
    assert 86_000 < await redis.ttl(f"arq:job:{name}") <= 86_400


async def test_a_burst_makes_two_wake_ups_and_the_last_is_kept(
    redis: Redis, redis_url: str
) -> None:
    async with new_queue(redis_url) as queue:
        for _ in range(1000):
            queue.wake("poll")
            queue.wake("submit")
        # The first at once, and one for all that came later, when the window ends.
        await eventually_waiting(redis, 4)
        await asyncio.sleep(0.1)
        names = [name for name, _ in await waiting(redis)]
        assert sorted(name.partition(":")[0] for name in names) == ["poll"] * 2 + ["submit"] * 2
        queue.wake("poll")
        await eventually_waiting(redis, 5)


async def test_a_wake_up_held_back_is_sent_at_the_end(redis: Redis, redis_url: str) -> None:
    async with new_queue(redis_url) as queue:
        queue.wake("submit")
        queue.wake("submit")
    assert len(await waiting(redis)) == 2


class Standing(SystemClock):
    """A clock whose wall time stands still."""

    def __init__(self) -> None:
        self.at = super().now().replace(microsecond=100_000)

    @override
    def now(self) -> datetime:
        return self.at


async def test_later_wake_ups_share_a_grid_across_processes(redis: Redis, redis_url: str) -> None:
    clock = Standing()
    queues = [ArqQueue(redis_url, clock, SystemIds()) for _ in range(2)]
    async with queues[0], queues[1]:
        for queue in queues:
            for step in range(100):
                queue.wake("deliver", after=60 + step / 100)
        found = await eventually_waiting(redis, 5)
    assert await waiting(redis) == found
    second = clock.at.replace(microsecond=0).timestamp() * 1000
    # From 60.1 s to 61.09 s after the full second, each rounded up to a quarter.
    dues = [second + 60_000 + quarter for quarter in (250, 500, 750, 1000, 1250)]
    assert found == [(f"deliver:{due:.0f}", due) for due in dues]
    for name, _ in found:
        assert 86_400 + 55 < await redis.ttl(f"arq:job:{name}") <= 86_400 + 62


async def test_the_memory_of_later_wake_ups_is_bounded(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "_MAX_REMEMBERED", 100)
    async with new_queue(redis_url) as queue:
        for step in range(250):
            queue.wake("poll", after=step + 1.0)
            assert len(queue._remembered) <= 100  # pyright: ignore[reportPrivateUsage]
        await eventually_waiting(redis, 250)


@pytest.mark.parametrize("after", [float("nan"), float("inf"), -5.0, 1e-9])
async def test_odd_delays_do_no_harm(redis: Redis, redis_url: str, after: float) -> None:
    async with new_queue(redis_url) as queue:
        queue.wake("poll", after=after)
        await eventually_waiting(redis, 1)
        assert queue.dropped == 0


async def test_wake_ups_are_published_with_their_due_time(redis: Redis, redis_url: str) -> None:
    async with Subscription(redis, WAKE_CHANNEL) as messages, new_queue(redis_url) as queue:
        queue.wake("submit")
        queue.wake("poll", after=9.0)
        found = ((await messages.next(5)) or "").split()
        due = dict(await waiting(redis))
    assert {wakeup.partition(":")[0] for wakeup in found} == {"submit", "poll"}
    assert {float(wakeup.partition(":")[2]) for wakeup in found} == set(due.values())


async def test_announcements_reach_every_process(redis_url: str) -> None:
    heard: dict[str, list[str]] = {"one": [], "other": []}
    one, other = new_queue(redis_url), new_queue(redis_url)
    one.listen(heard["one"].append)
    async with one, other:
        other.listen(heard["other"].append)
        await until(lambda: one.connected and other.connected)
        one.announce("key:1")
        assert "key:1" in heard["one"]
        one.announce("key:1")
        other.announce("key:\u00fc")
        await until(lambda: all({"key:1", "key:\u00fc"} <= set(got) for got in heard.values()))
    assert heard["one"][0] == "*"


async def test_a_closed_queue_drops_and_counts(redis: Redis, redis_url: str) -> None:
    queue = new_queue(redis_url)
    queue.wake("submit")
    async with queue:
        assert queue.dropped == 1
    queue.wake("submit", after=5)
    queue.announce("x")
    assert queue.dropped == 3
    assert not queue.connected
    assert await waiting(redis) == []


async def test_a_process_hears_its_own_wake_ups_also_without_redis(tmp_path: Path) -> None:
    heard: list[str] = []
    async with new_queue(f"unix://{tmp_path}/nobody") as queue:
        queue.on_wake(heard.append)
        for _ in range(100):
            queue.wake("submit")
        assert heard == ["submit"]
        queue.wake("poll", after=0.05)
        await until(lambda: heard == ["submit", "submit", "poll"])
        queue.wake("deliver", after=0.05)
    queue.wake("bulk")
    await asyncio.sleep(0.1)
    assert heard == ["submit", "submit", "poll"]


# --- Redis comes and goes ---------------------------------------------------------------------


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[OwnValkey]:
    async with own_valkey(tmp_path) as server:
        yield server


async def test_redis_may_come_late_and_go(own: OwnValkey) -> None:
    heard: list[str] = []
    async with new_queue(own.url) as queue:
        queue.listen(heard.append)
        queue.wake("submit")
        await until(lambda: queue.dropped == 1)
        queue.wake("submit")
        queue.announce("x")
        await until(lambda: queue.dropped == 3)
        assert not queue.connected
        await own.start()
        await until(lambda: queue.connected)
        assert heard == ["x", "*"]  # this process is told without Redis too
        redis = connect(own.url, Redis)
        queue.wake("poll", after=600)
        (first,) = await eventually_waiting(redis, 1)
        await redis.aclose()

        await own.end()
        await until(lambda: not queue.connected)
        await own.start()
        await until(lambda: queue.connected)
        assert heard == ["x", "*", "*"]
        redis = connect(own.url, Redis)
        queue.wake("poll", after=first[1] / 1000 - SystemClock().now().timestamp() - 0.1)
        assert (await eventually_waiting(redis, 1))[0][0].startswith("poll:")
        queue.announce("y")
        assert heard[3:] == ["y"]
        await until(lambda: heard[3:] == ["y", "y"])
        await redis.aclose()


async def test_the_number_of_a_beacon_is_kept_for_every_process(redis_url: str) -> None:
    one, other = UUID(int=1), UUID(int=2)
    async with new_queue(redis_url) as queue:
        port: Queue = queue
        assert await port.mirrored() == {}
        port.mirror(one, 5)
        port.mirror(other, 2**40)
        port.mirror(one, 6)
        await eventually_mirrored(queue, {one: 6, other: 2**40})
        port.mirror(one, 7)
    async with new_queue(redis_url) as late:
        assert await late.mirrored() == {one: 7, other: 2**40}


async def eventually_mirrored(queue: ArqQueue, expected: Mapping[UUID, int]) -> None:
    async with asyncio.timeout(20):
        while await queue.mirrored() != expected:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.005)


async def test_without_redis_no_number_is_known_and_none_is_waited_for(own: OwnValkey) -> None:
    async with new_queue(own.url) as queue:
        queue.mirror(UUID(int=1), 5)
        assert await queue.mirrored() == {}
        await until(lambda: not queue.connected)
        await own.start()
        await until(lambda: queue.connected)
        queue.mirror(UUID(int=1), 6)
        await eventually_mirrored(queue, {UUID(int=1): 6})


async def test_a_redis_that_answers_no_more_is_noticed(
    own: OwnValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "_IDLE_SECONDS", 0.2)
    monkeypatch.setattr(announcements_module, "_IDLE_SECONDS", 0.2)
    await own.start()
    heard: list[str] = []
    async with new_queue(own.url) as queue:
        queue.listen(heard.append)
        await until(lambda: queue.connected)
        await asyncio.sleep(0.7)
        assert queue.connected
        assert heard == ["*"]
        own.send(signal.SIGSTOP)
        await until(lambda: not queue.connected)
        own.send(signal.SIGCONT)
        await until(lambda: queue.connected)
        await until(lambda: heard.count("*") >= 2)


async def test_closing_without_redis_ends(own: OwnValkey) -> None:
    async with new_queue(own.url) as queue:
        queue.wake("submit")
        queue.wake("submit")
    assert queue.dropped >= 1
