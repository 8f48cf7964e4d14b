"""WorkerLoop and ArqQueue together on a real Valkey that stops, restarts and loses its data."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs
from typing_extensions import override

from gateway.adapters.clock import SystemClock, SystemIds
from gateway.adapters.redis.client import connect
from gateway.adapters.redis.health import RedisHealth
from gateway.adapters.wakeups import single_run as single_run_module
from gateway.adapters.wakeups.queue import ArqQueue
from gateway.adapters.wakeups.redis_commands import QUEUE
from gateway.adapters.wakeups.worker_loop import Handler, WorkerLoop
from gateway.ports import Verb
from tests.adapters.own_valkey import OwnValkey, own_valkey, until


class Runs:
    """Handlers that count, and wait while they are told to."""

    def __init__(self) -> None:
        self.started: dict[str, list[float]] = {
            "submit": [],
            "poll": [],
            "deliver": [],
            "sweep": [],
        }
        self.ended = 0
        self.free = asyncio.Event()
        self.free.set()

    def handler(self, name: str) -> Handler:
        async def run() -> None:
            self.started[name].append(time.monotonic())
            await self.free.wait()
            self.ended += 1

        return run

    def count(self, name: str) -> int:
        return len(self.started[name])


def new_pool(url: str, runs: Runs, **options: Any) -> WorkerLoop:
    verbs: tuple[Verb, ...] = ("submit", "poll", "deliver")
    handlers = {verb: runs.handler(verb) for verb in verbs} | options.pop("handlers", {})
    sweep = runs.handler("sweep")
    return WorkerLoop(url, SystemClock(), SystemIds(), handlers=handlers, sweep=sweep, **options)


@asynccontextmanager
async def running(pool: WorkerLoop) -> AsyncGenerator[asyncio.Event]:
    """The pool at work; it ends with the block, unless it was stopped before."""
    stop = asyncio.Event()
    task = asyncio.create_task(pool.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await task


def new_queue(url: str, health: RedisHealth | None = None) -> ArqQueue:
    return ArqQueue(url, SystemClock(), SystemIds(), health)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url, Redis)
    yield client
    await client.aclose()


async def leftovers(redis: Redis) -> list[bytes]:
    """What wake-ups have left in Redis; sweeps and health keep their marks for a while."""
    found = [*await redis.zrange(QUEUE, 0, -1), *await redis.keys("arq:*")]
    return [one for one in found if b"sweep" not in one]


async def emptied(redis: Redis) -> None:
    """Wait until no wake-up is left."""
    while await leftovers(redis):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.02)


# --- Wake-ups ---------------------------------------------------------------------------------


async def test_a_wake_up_runs_its_handler_within_milliseconds(redis: Redis, redis_url: str) -> None:
    runs = Runs()
    delays: list[float] = []
    async with new_queue(redis_url) as queue, running(new_pool(redis_url, runs)):
        for number in range(20):
            await asyncio.sleep(0.03)
            asked = time.monotonic()
            queue.wake("submit")
            await until(lambda number=number: runs.count("submit") > number)
            delays.append(runs.started["submit"][number] - asked)
        assert (runs.count("poll"), runs.count("deliver")) == (0, 0)
        await emptied(redis)
    delays.sort()
    print(f"wake-up to handler: p50 {delays[10] * 1000:.1f} ms, max {delays[-1] * 1000:.1f} ms")


async def test_any_number_during_a_run_makes_one_more(redis: Redis, redis_url: str) -> None:
    runs = Runs()
    async with new_queue(redis_url) as queue, running(new_pool(redis_url, runs)):
        runs.free.clear()
        queue.wake("poll")
        await until(lambda: runs.count("poll") == 1)
        for _ in range(60):
            queue.wake("poll")
            await asyncio.sleep(0.005)
        await emptied(redis)
        assert runs.count("poll") == 1
        runs.free.set()
        await until(lambda: runs.ended >= 2)
        await asyncio.sleep(0.1)
        # On a busy machine the last message may arrive after the queue is seen empty, and makes one.
        assert runs.count("poll") in (2, 3)


async def test_a_backlog_of_wake_ups_leaves_the_queue_in_bulk(redis: Redis, redis_url: str) -> None:
    runs = Runs()
    async with new_queue(redis_url) as queue:
        for _ in range(15):
            queue.wake("submit")
            queue.wake("deliver")
            await asyncio.sleep(0.021)
    assert await redis.zcard(QUEUE) >= 20
    await redis.zadd(QUEUE, {f"poll:{number}": number + 1 for number in range(250)})
    async with running(new_pool(redis_url, runs)):
        await until(lambda: runs.ended >= 3)
        await emptied(redis)
        assert runs.count("submit") <= 3
        assert runs.count("deliver") <= 3


async def test_a_later_wake_up_runs_when_it_is_due(redis_url: str) -> None:
    runs = Runs()
    async with new_queue(redis_url) as queue, running(new_pool(redis_url, runs)):
        asked = time.monotonic()
        queue.wake("deliver", after=0.4)
        await until(lambda: runs.count("deliver") == 1)
        assert runs.started["deliver"][0] - asked >= 0.4


async def test_a_local_wake_up_needs_no_redis(redis: Redis, redis_url: str) -> None:
    runs = Runs()
    pool = new_pool(redis_url, runs)
    async with running(pool):
        pool.wake_up("poll")
        await until(lambda: runs.count("poll") == 1)
    assert await leftovers(redis) == []


async def test_two_pools_share_the_queue(redis: Redis, redis_url: str) -> None:
    one, other = Runs(), Runs()
    async with (
        new_queue(redis_url) as queue,
        running(new_pool(redis_url, one)),
        running(new_pool(redis_url, other)),
    ):
        for number in range(20):
            queue.wake("submit")
            await until(lambda number=number: one.count("submit") + other.count("submit") > number)
        await emptied(redis)
    assert await leftovers(redis) == []


async def test_invalid_queue_entries_are_dropped(redis: Redis, redis_url: str) -> None:
    await redis.zadd(QUEUE, {"no-such-job": 1, "submit:1": 2, "\u00fc:2": 3, "bad:1": 4})
    await redis.set("arq:job:bad:1", b"\x80\x04pickle")
    runs = Runs()
    async with new_queue(redis_url) as queue, running(new_pool(redis_url, runs)):
        await emptied(redis)
        await redis.publish("gateway:kick", "what ever:x submit:-5 :: \u00fc")
        queue.wake("poll")
        await until(lambda: runs.count("poll") == 1)


# --- The sweep, failures, the end -------------------------------------------------------------


async def test_the_sweep_runs_by_itself(redis_url: str) -> None:
    runs = Runs()
    pool = new_pool(redis_url, runs, sweep_seconds=1)
    begun = pool.alive_at
    async with running(pool):
        await until(lambda: runs.count("sweep") >= 2)
    assert pool.alive_at > begun
    assert not pool.degraded


async def test_a_failed_handler_is_logged_and_runs_again(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_run_module, "_PAUSE_SECONDS", 0.05)
    runs = Runs()
    tries = 0

    async def fail_then_hang() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ValueError("broken")
        await asyncio.Event().wait()

    pool = new_pool(
        redis_url, runs, handlers={"submit": fail_then_hang}, run_seconds=0.1, drain_seconds=0.1
    )
    with capture_logs() as logs:
        async with new_queue(redis_url) as queue, running(pool):
            for tried in range(3):
                queue.wake("submit")
                await until(lambda tried=tried: tries > tried)
                await asyncio.sleep(0.03)
            queue.wake("poll")
            await until(lambda: runs.count("poll") == 1)
    failures = [log for log in logs if log["event"] == "a handler failed"]
    assert failures[0] == {
        "event": "a handler failed",
        "log_level": "error",
        "exc_info": True,
        "handler": "submit",
        "error": "ValueError: broken",
    }
    assert failures[1]["error"].startswith("TimeoutError")


async def test_the_end_waits_for_runs(redis_url: str) -> None:
    runs = Runs()
    pool = new_pool(redis_url, runs)
    async with new_queue(redis_url) as queue:
        async with running(pool) as stop:
            runs.free.clear()
            queue.wake("submit")
            await until(lambda: runs.count("submit") == 1)
            pool.wake_up("submit")
            stop.set()
            await asyncio.sleep(0.1)
            queue.wake("poll")
            pool.wake_up("deliver")
            assert runs.ended == 0
            runs.free.set()
        assert runs.ended == runs.count("submit") + runs.count("sweep")
        assert (runs.count("submit"), runs.count("poll"), runs.count("deliver")) == (1, 0, 0)


@pytest.mark.parametrize(("hangs", "least", "most"), [(True, 0, 0), (False, 30, 60)])
async def test_the_end_cancels_runs_that_take_too_long(
    redis_url: str, hangs: bool, least: float, most: float
) -> None:
    """What a run has used of the time to drain is not granted a second time to the tasks."""
    runs, stop = Runs(), asyncio.Event()
    pool = new_pool(redis_url, runs, drain_seconds=0.1 if hangs else 60.0)
    async with new_queue(redis_url) as queue:
        ending = asyncio.create_task(pool.run(stop))
        if hangs:
            runs.free.clear()
        queue.wake("submit")
        await until(lambda: runs.count("submit") == 1)
        stop.set()
        assert least <= await ending <= most
        assert runs.ended == (0 if hangs else runs.count("submit") + runs.count("sweep"))


async def test_it_ends_whenever_it_is_stopped(redis_url: str) -> None:
    # redis and arq lose cancellations that come while they write: Python 3.11's wait_for does.
    for step in range(40):
        async with new_queue(redis_url) as queue, running(new_pool(redis_url, Runs())):
            await asyncio.sleep(step / 4000)
            queue.wake("submit")


async def test_a_defect_of_the_pool_itself_shows(redis_url: str) -> None:
    class Broken(SystemClock):
        @override
        def monotonic(self) -> float:
            if asyncio.current_task() is not creator:
                raise ZeroDivisionError
            return 0.0

    creator = asyncio.current_task()
    handlers: dict[Verb, Handler] = {"submit": Runs().handler("submit")}
    pool = WorkerLoop(redis_url, Broken(), SystemIds(), handlers=handlers, sweep=handlers["submit"])
    with pytest.raises(ZeroDivisionError):
        await pool.run(asyncio.Event())


# --- Redis comes and goes ---------------------------------------------------------------------


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[OwnValkey]:
    async with own_valkey(tmp_path) as server:
        yield server


async def woken(queue: ArqQueue, runs: Runs, verb: Verb) -> None:
    """Wait until a wake-up goes its usual way."""
    await until(lambda: queue.connected)
    before = runs.count(verb)
    queue.wake(verb)
    await until(lambda: runs.count(verb) > before)


async def test_flushall_loses_wake_ups_and_nothing_else(redis: Redis, redis_url: str) -> None:
    runs = Runs()
    pool = new_pool(redis_url, runs, sweep_seconds=1)
    async with new_queue(redis_url) as queue, running(pool):
        await woken(queue, runs, "submit")
        for _ in range(5):
            queue.wake("poll", after=60)
            await redis.flushdb()
            await woken(queue, runs, "deliver")
        swept = runs.count("sweep")
        await until(lambda: runs.count("sweep") > swept)
        assert not pool.degraded


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_redis_goes_and_comes_back(own: OwnValkey, how: signal.Signals) -> None:
    await own.start()
    runs, health = Runs(), RedisHealth()
    pool = new_pool(own.url, runs, sweep_seconds=1, health=health)
    with capture_logs() as logs:
        async with new_queue(own.url, health) as queue, running(pool):
            await woken(queue, runs, "submit")
            runs.free.clear()
            queue.wake("deliver")
            await until(lambda: runs.count("deliver") == 1)
            await own.end(how)
            await until(lambda: pool.degraded)
            assert runs.count("deliver") == 1
            runs.free.set()
            # Without Redis each handler runs every second, and the sweep in its time.
            polled, swept = runs.count("poll"), runs.count("sweep")
            await until(lambda: runs.count("poll") >= polled + 3 and runs.count("sweep") > swept)
            alive_at = pool.alive_at
            await own.start()
            await until(lambda: not pool.degraded)
            await woken(queue, runs, "submit")
            await until(lambda: pool.alive_at > alive_at)
    mine = [log for log in logs if log["event"].startswith("redis can")]
    assert [(log["log_level"], log.get("cause")) for log in mine] == [
        ("warning", "nothing listens there"),
        ("info", None),
    ]


async def test_redis_freezes_and_thaws(own: OwnValkey) -> None:
    await own.start()
    runs = Runs()
    pool = new_pool(own.url, runs)
    async with new_queue(own.url) as queue, running(pool):
        await woken(queue, runs, "submit")
        own.send(signal.SIGSTOP)
        polled = runs.count("poll")
        await until(lambda: pool.degraded and runs.count("poll") > polled)
        own.send(signal.SIGCONT)
        await until(lambda: not pool.degraded)
        await woken(queue, runs, "submit")


async def test_redis_may_come_late(own: OwnValkey) -> None:
    runs = Runs()
    pool = new_pool(own.url, runs)
    async with new_queue(own.url) as queue, running(pool):
        await until(lambda: pool.degraded and runs.count("poll") >= 1)
        await own.start()
        await until(lambda: not pool.degraded)
        await woken(queue, runs, "submit")


async def test_stopping_without_redis_ends(own: OwnValkey) -> None:
    runs = Runs()
    pool = new_pool(own.url, runs)
    async with running(pool):
        await until(lambda: pool.degraded)
    assert runs.count("submit") >= 1


# --- What it costs ----------------------------------------------------------------------------


async def calls(redis: Redis) -> int:
    """Commands that the server has carried out."""
    found: dict[str, dict[str, int]] = await redis.info("commandstats")
    return sum(one["calls"] for one in found.values())


async def test_what_wake_ups_cost(own: OwnValkey) -> None:
    await own.start()
    redis = connect(own.url, Redis)
    runs = Runs()
    async with new_queue(own.url) as queue, running(new_pool(own.url, runs)):
        await woken(queue, runs, "submit")
        before = await calls(redis)
        for _ in range(20):
            asked = runs.count("submit")
            queue.wake("submit")
            await until(lambda asked=asked: runs.count("submit") > asked)
            await asyncio.sleep(0.03)
        alone = await calls(redis) - before
        runs.free.clear()
        await woken(queue, runs, "poll")
        before = await calls(redis)
        for _ in range(100):
            queue.wake("poll")
            await asyncio.sleep(0.02)
        await emptied(redis)
        busy = await calls(redis) - before
        before = await calls(redis)
        await asyncio.sleep(4)
        idle = await calls(redis) - before
        runs.free.set()
    await redis.aclose()
    print(f"Redis commands: {alone / 20:.1f} a wake-up, {busy / 100:.1f} while its session runs")
    print(f"Redis commands when idle: {idle / 4:.1f}/s")
    assert alone / 20 < 30
    assert busy / 100 < 10
    assert idle / 4 < 20
