"""Heartbeats: they are written, they set the clock, and no fault ends them."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from gateway.errors import Unavailable
from gateway.flows.health import heartbeat
from gateway.flows.health.heartbeat import Heart, beating
from gateway.store import processes
from gateway.store.database import Tx
from gateway.store.processes import Beat, HeartbeatAnswer, Identity
from tests.flows.world import World


def who(world: World) -> Identity:
    return Identity(world.deps.ids.uuid(), "worker", "host", 1, "1")


async def seen(world: World) -> list[processes.SeenProcess]:
    async with world.deps.db.single() as tx:
        return list(await processes.seen(tx))


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


async def test_it_goes_on_whatever_happens(world: World, monkeypatch: pytest.MonkeyPatch):
    errors = [Unavailable("away"), RuntimeError("no such table"), RuntimeError()]
    real, came = processes.beat, asyncio.Event()

    async def beat(tx: Tx, one: Identity, what: Beat) -> HeartbeatAnswer:
        if errors:
            raise errors.pop(0)
        told = await real(tx, one, what)
        came.set()
        return told

    monkeypatch.setattr(processes, "beat", beat)
    heart = Heart(world.deps, who(world))
    found: list[str | None] = []
    for _ in range(3):
        assert not await heart.beat()
        found.append(world.deps.vitals.trouble)
    assert found == ["away", "no such table", "RuntimeError"]
    errors.append(Unavailable("once more"))
    task = asyncio.create_task(heart.run())
    await came.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await seen(world))[0].state == "ok"


async def test_a_process_ends_though_its_stop_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    async def stop(*_: object) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(processes, "stop", stop)
    async with beating(world.deps, who(world)):
        pass
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
