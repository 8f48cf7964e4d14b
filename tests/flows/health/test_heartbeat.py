"""Heartbeats: they are written, they set the clock, and no fault ends them."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from gateway.flows.health import heartbeat
from gateway.flows.health.heartbeat import Heart, beating
from gateway.store import processes, throughput
from gateway.store.processes import Identity
from gateway.store.throughput import ThroughputTotals
from tests.flows.database_faults import refused_writes
from tests.flows.world import World


def who(world: World) -> Identity:
    return Identity(world.deps.ids.uuid(), "worker", "host", 1, "1")


async def seen(world: World) -> list[processes.SeenProcess]:
    async with world.deps.db.single() as tx:
        return list(await processes.seen(tx))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a heart has no event for it
            await asyncio.sleep(0.005)


async def test_a_process_writes_that_it_lives_and_that_it_stops(world: World):
    world.deps.vitals.note("submit", "submitted", world.clock.monotonic())
    world.clock.advance(3)
    async with beating(world.deps, who(world)):
        (one,) = await seen(world)
        assert (one.state, one.did) == ("ok", "submit submitted")
        assert one.did_at is not None
        assert 2.5 <= (one.seen_at - one.did_at).total_seconds() <= 3.5
        assert world.deps.vitals.trouble == ""
    assert [one.state for one in await seen(world)] == ["stopped"]


async def test_heartbeats_go_on_after_each_failure_of_the_database(world: World):
    heart = Heart(world.deps, who(world))
    for sqlstate, message, trouble in (
        ("53100", "disk full", "The database takes no changes just now."),
        ("P0001", "oops", "oops"),
        ("P0001", "", "RaiseError"),
    ):
        async with refused_writes(world, "process", sqlstate, message):
            assert not await heart.beat()
        assert (world.deps.vitals.trouble or "").startswith(trouble)
    async with refused_writes(world, "process", "53100"):
        task = asyncio.create_task(heart.run())
        await until(lambda: "takes no changes" in (world.deps.vitals.trouble or ""))
    await until(lambda: world.deps.vitals.trouble == "")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await seen(world))[0].state == "ok"


async def test_a_process_ends_even_if_its_stop_cannot_be_written(world: World):
    async with AsyncExitStack() as faults, beating(world.deps, who(world)):
        await faults.enter_async_context(refused_writes(world, "process", "53100"))
    assert [one.state for one in await seen(world)] == ["ok"]


@pytest.mark.parametrize("ahead", [90.0, -90.0])
async def test_the_clock_is_set_by_that_of_postgres(
    world: World, monkeypatch: pytest.MonkeyPatch, ahead: float
):
    """By no more than is certain, so that a good clock is left alone."""
    world.clock.ahead, now = ahead, world.clock.now
    monkeypatch.setattr(world.clock, "now", lambda: now() + world.clock.offset)
    heart = Heart(world.deps, who(world))
    with capture_logs() as logs:
        assert await heart.beat()
        assert await heart.beat()
    assert abs(world.clock.offset.total_seconds() + ahead) < 1.0
    assert [line["event"] for line in logs] == [
        "the clock of this host is wrong: the gateway uses that of Postgres"
    ]
    assert abs(logs[0]["seconds_ahead"] - ahead) < 1.0
    (one,) = await seen(world)
    assert abs(one.clock_ahead - ahead) < 1.0, "the second heartbeat tells the others"


async def test_a_good_clock_is_left_alone(world: World):
    heart = Heart(world.deps, who(world))
    assert await heart.beat()
    assert world.clock.offset == timedelta()


async def test_a_transaction_that_does_not_end_holds_the_feed_up(world: World):
    heart = Heart(world.deps, who(world))
    async with world.deps.db.begin() as tx:
        await tx.rows("SELECT pg_current_xact_id()")
        await heart.beat()
        world.clock.advance(30)
        await heart.beat()
        assert world.deps.vitals.feed_lag == 30.0
    async with asyncio.timeout(20):  # those of other tests, on the same server, end by themselves
        while world.deps.vitals.feed_lag:
            await heart.beat()
            await asyncio.sleep(0.05)


def test_heartbeats_are_so_frequent_that_two_may_be_lost():
    assert 2 * heartbeat.EVERY_SECONDS < processes.STALE_SECONDS < 15


async def totals(world: World) -> ThroughputTotals:
    async with world.deps.db.single() as tx:
        return await throughput.totals(tx)


async def test_each_heartbeat_and_the_end_write_what_was_done_since_the_last(world: World):
    async with beating(world.deps, who(world)):
        world.deps.vitals.throughput.counts["accepted"] += 2
        async with asyncio.timeout(20):
            while (await totals(world)).accepted != 2:
                assert await Heart(world.deps, who(world)).beat()
        world.deps.vitals.throughput.counts["accepted"] += 1
    assert (await totals(world)).accepted == 3


async def test_what_cannot_be_written_is_written_by_a_later_heartbeat(world: World):
    heart = Heart(world.deps, who(world))
    world.deps.vitals.throughput.counts["accepted"] += 1
    async with refused_writes(world, "throughput", "53100"):
        assert not await heart.beat()
        world.deps.vitals.throughput.counts["accepted"] += 1
    assert await heart.beat()
    assert (await totals(world)).accepted == 2
