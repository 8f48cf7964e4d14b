"""Overviews and the status: each fault is named, and many callers share one overview."""

import asyncio

import pytest

from gateway import __version__
from gateway.errors import Unavailable
from gateway.flows.health.heartbeat import Heart
from gateway.flows.health.overview import Overviews
from gateway.flows.health.status import GatewayStatus, status
from gateway.store.processes import Identity
from tests.flows.database_faults import without_database
from tests.flows.world import World
from tests.store.blocking import blocked


async def heard(world: World, kind: str = "worker", version: str = __version__) -> None:
    who = Identity(world.deps.ids.uuid(), kind, "host-1", 7, version)
    assert await Heart(world.deps, who).beat()


async def looked(world: World) -> GatewayStatus:
    return await status(world.deps, Overviews(world.deps))


def codes(found: GatewayStatus) -> list[str]:
    return [one.code for one in found.wrong]


async def test_a_gateway_that_is_well(world: World):
    await heard(world)
    await heard(world, "api")
    await world.accept(await world.tenant())
    found = await looked(world)
    assert (found.word, found.database, found.redis) == ("ok", "ok", True)
    assert found.overview is not None
    assert found.overview.states["accepted"] == 1
    assert found.overview.tenants_waiting == 1


async def test_a_gateway_without_any_worker_is_down(world: World):
    await heard(world, "api")
    found = await looked(world)
    assert (found.word, codes(found)) == ("down", ["NO_WORKER"])
    assert "ever" in found.wrong[0].message


async def test_a_gateway_whose_workers_fell_silent_is_down_and_says_since_when(world: World):
    await heard(world)
    await world.run("UPDATE process SET seen_at = '2026-11-30T02:51:07Z'")
    found = await looked(world)
    assert (found.word, codes(found)) == ("down", ["NO_WORKER"])
    assert "since 2026-11-30 02:51:07 UTC" in found.wrong[0].message


async def test_a_frozen_worker_beside_another_is_told(world: World):
    await heard(world)
    await world.run("UPDATE process SET seen_at = now() - interval '13 s'")
    await heard(world)
    await world.run("UPDATE process SET started_at = now() - interval '1 hour'")
    found = await looked(world)
    assert (found.word, codes(found)) == ("degraded", ["WORKER_STALE"])
    assert "host-1 (pid 7)" in found.wrong[0].message


async def silent(world: World, kind: str = "worker") -> None:
    """A process that was killed, or is frozen, 13 seconds ago."""
    await heard(world, kind)
    await world.run(
        "UPDATE process SET seen_at = now() - interval '13 s', started_at = now() - interval '1 h'"
        " WHERE started_at = (SELECT max(started_at) FROM process)"
    )


async def test_a_killed_process_that_was_replaced_is_no_problem(world: World):
    """A rolling restart whose old pods get SIGKILL: each has a successor, on whatever host."""
    for kind in ("worker", "worker", "api"):
        await silent(world, kind)
    for kind in ("worker", "worker", "api"):
        await heard(world, kind)
    found = await looked(world)
    assert (found.word, codes(found)) == ("ok", [])
    assert found.overview is not None
    assert [one.state for one in found.overview.processes].count("stale") == 3, "still shown"


async def test_one_process_replaces_one_of_its_kind(world: World):
    await silent(world)
    await silent(world)
    await heard(world)
    await heard(world, "api")
    assert codes(await looked(world)) == ["WORKER_STALE"]


async def test_a_replacement_that_falls_silent_replaces_nothing(world: World):
    await heard(world)
    await world.run("UPDATE process SET started_at = now() - interval '1 h'")
    await silent(world)
    await heard(world)
    await world.run(
        "UPDATE process SET seen_at = now() - interval '12 s'"
        " WHERE started_at = (SELECT max(started_at) FROM process)"
    )
    assert codes(await looked(world)) == ["WORKER_STALE", "WORKER_STALE"]


async def test_an_old_version_is_told(world: World):
    await heard(world)
    await heard(world, "api", "0.0.1")
    found = await looked(world)
    assert codes(found) == ["VERSION_DIFFERS"]
    assert "0.0.1" in found.wrong[0].message


@pytest.mark.parametrize(("ahead", "way"), [(90.0, "90.0 s ahead of"), (-90.0, "90.0 s behind")])
async def test_a_wrong_clock_is_told(world: World, ahead: float, way: str):
    await heard(world)
    await world.run("UPDATE process SET clock_ahead = $1", ahead)
    found = await looked(world)
    assert codes(found) == ["CLOCK_OFF"]
    assert way in found.wrong[0].message


async def test_rounds_that_are_late_are_told(world: World):
    await heard(world)
    await world.tenant()
    await world.run("UPDATE beacon SET swept_at = now() - interval '31 s'")
    await world.run("UPDATE tenant SET pruned_at = now() - interval '4 hours'")
    found = await looked(world)
    await world.run("UPDATE beacon SET swept_at = NULL")
    assert codes(found) == ["SWEEP_LATE", "PRUNE_LATE"]


async def test_the_status_names_rows_that_are_late_and_not_rows_that_are_held(world: World):
    await heard(world)
    tenant = await world.tenant()
    await world.accept(tenant)
    await world.run("UPDATE job SET next_at = now() - interval '61 s'")
    assert codes(await looked(world)) == ["QUEUE_SLOW"]
    await world.run("UPDATE tenant SET suspended_at = now()")
    assert codes(await looked(world)) == []


async def test_redis_and_the_feed(world: World):
    await heard(world)
    world.queue.connected = False
    world.deps.vitals.feed_lag = 31.0
    found = await looked(world)
    assert (found.word, codes(found)) == ("degraded", ["REDIS_AWAY", "FEED_LAGS"])


async def test_there_is_a_status_without_the_database(world: World):
    async with without_database(world.deps) as deps:
        found = await status(deps, Overviews(deps))
    assert (found.word, found.overview, codes(found)) == ("down", None, ["DATABASE"])
    assert "connection refused" in found.wrong[0].message


# --- Caching ------------------------------------------------------------------------------------


async def test_many_callers_share_one_overview_for_a_second(world: World):
    overviews = Overviews(world.deps)
    first, *others = await asyncio.gather(*(overviews.get() for _ in range(50)))
    assert all(one is first for one in others)
    world.clock.advance(0.9)
    assert await overviews.get() is first
    world.clock.advance(0.2)
    assert await overviews.get() is not first


async def test_an_overview_that_took_long_is_reused_for_longer(world: World):
    overviews = Overviews(world.deps)
    async with world.deps.db.begin() as tx:
        await tx.rows("LOCK TABLE process")
        asking = await blocked(world.deps.db, overviews.get())
        world.clock.advance(0.5)
    slow = await asking
    world.clock.advance(9.0)
    assert await overviews.get() is slow
    world.clock.advance(1.5)
    assert await overviews.get() is not slow


async def test_a_failure_is_reused_as_well(world: World):
    overviews = Overviews(world.deps, seconds=0.05)
    async with world.deps.db.begin() as tx:
        await tx.rows("LOCK TABLE process")
        with pytest.raises(Unavailable, match="too long"):
            await overviews.get()
    with pytest.raises(Unavailable, match="too long"):
        await overviews.get()
