"""Faults of receivers, and changes of endpoints while deliveries wait."""

import asyncio
from uuid import UUID

import pytest

from tests.faults.drills import drill, query, submit_many, until_ended
from tests.faults.rig import Rig
from tests.faults.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_21_a_receiver_hangs(rig: Rig) -> None:
    async with drill(rig, "21 hanging", GATEWAY_DELIVERY_TIMEOUT_SECONDS="1") as history:
        world = history.world
        hanging, other = world.tenants
        await rig.behave(f"/hook/{hanging.slug}", hang=True, times=10)
        await world.work()
        await submit_many(history, 12)
        theirs = [entry for entry in history.entries if entry.tenant is other]
        await until_ended(history, theirs, 15)


@pytest.mark.parametrize("status", [302, 500])
async def test_26_a_receiver_refuses_for_a_while(rig: Rig, status: int) -> None:
    async with drill(rig, f"26 answers {status}", seconds=90) as history:
        world = history.world
        await rig.behave(f"/hook/{world.tenants[0].slug}", status=status, times=4)
        await world.work()
        await submit_many(history, 4)


@pytest.mark.parametrize("status", [429, 502, 504])
async def test_26_a_receiver_asks_for_rest(rig: Rig, status: int) -> None:
    async with drill(rig, f"26 answers {status}") as history:
        world, tired = history.world, history.world.tenants[0]
        await rig.behave(f"/hook/{tired.slug}", status=status, times=1)
        await world.work()
        await submit_many(history, 4)
        resting = "SELECT 1 FROM endpoint WHERE id = $1 AND paused_until > now()"
        await until(lambda: query(world, resting, UUID(tired.endpoint_id)), 10)
        # As if the minute had gone by that such an endpoint is left alone.
        await query(world, "UPDATE endpoint SET paused_until = now()")
        await query(world, "UPDATE delivery SET next_at = now() WHERE lease_token IS NULL")


async def test_26_a_receiver_is_gone(rig: Rig) -> None:
    async with drill(rig, "26 answers 410") as history:
        world, gone = history.world, history.world.tenants[0]
        await rig.behave(f"/hook/{gone.slug}", status=410, times=None)
        await world.work()
        await submit_many(history, 10)
    states = await query(world, "SELECT DISTINCT state, last_error FROM delivery ORDER BY 1")
    assert [row["state"] for row in states] == ["delivered", "parked"]


async def test_26_a_receiver_never_answers_well(rig: Rig) -> None:
    async with drill(rig, "26 exhausted") as history:
        world, bad = history.world, history.world.tenants[0]
        await rig.behave(f"/hook/{bad.slug}", status=500, times=None)
        await world.work()
        await history.submit(bad)
    rows = await query(world, "SELECT state, attempts, last_error FROM delivery")
    assert {(row["state"], row["attempts"]) for row in rows} == {("exhausted", 6)}


async def test_26_the_answer_of_a_receiver_is_lost(rig: Rig) -> None:
    async with drill(rig, "26 reset after the request") as history:
        world = history.world
        assert world.links is not None
        proxy = world.links.receiver
        await world.work()
        proxy.reset_on, proxy.after = b"webhook-signature", True
        await submit_many(history, 10, run=0.1)

        async def is_hit() -> bool:
            return proxy.hits >= 10

        await until(is_hit, 20)
        proxy.heal()


async def test_26_the_link_to_the_receivers_stalls(rig: Rig) -> None:
    async with drill(rig, "26 stalled", GATEWAY_DELIVERY_TIMEOUT_SECONDS="1") as history:
        world = history.world
        assert world.links is not None
        await world.work()
        world.links.receiver.stall()
        await submit_many(history, 10, run=0.1)
        await asyncio.sleep(2)
        world.links.receiver.heal()


async def test_28_an_endpoint_is_deleted_between_two_attempts(rig: Rig) -> None:
    async with drill(rig, "28 endpoint deleted") as history:
        world, leaving = history.world, history.world.tenants[0]
        await rig.behave(f"/hook/{leaving.slug}", status=500, times=None)
        await world.work()
        await submit_many(history, 8)
        await asyncio.sleep(1.5)
        await world.told("DELETE", f"/v1/endpoint/{leaving.endpoint_id}", leaving.key)
        await submit_many(history, 8)
