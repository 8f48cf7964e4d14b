"""Faults of receivers, and changes of endpoints while deliveries wait."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.core.webhooks.signing import format_secret
from tests.faults.drills.drill import drill, query, submit_many, until_ended
from tests.faults.harness.rig import Rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import Tenant, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


_SIGNATURES = """
SELECT cardinality(string_to_array(a.request_headers->>'webhook-signature', ' ')) AS signatures
FROM attempt a JOIN delivery d ON d.id = a.delivery_id WHERE d.endpoint_id = $1"""
_KEPT = """
SELECT state, count(*) FILTER (WHERE last_error IS NULL) AS silent FROM delivery
WHERE endpoint_id = $1 GROUP BY state"""
_FAILED = "SELECT 1 FROM attempt WHERE status = 500"


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


async def test_26_a_receiver_answers_too_late(rig: Rig) -> None:
    async with drill(rig, "26 late 200", GATEWAY_DELIVERY_TIMEOUT_SECONDS="1") as history:
        world, slow = history.world, history.world.tenants[0]
        await rig.behave(f"/hook/{slow.slug}", status=200, delaySeconds=2, times=6)
        await world.work()
        await submit_many(history, 8, run=0.1)
    again = await query(world, "SELECT 1 FROM delivery WHERE attempts > 1")
    assert len(again) >= 3


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


async def test_28_the_url_changes_between_two_attempts(rig: Rig) -> None:
    async with drill(rig, "28 URL changed") as history:
        world, moving = history.world, history.world.tenants[0]
        await rig.behave(f"/hook/{moving.slug}", status=500, times=None)
        await world.work()
        load = asyncio.create_task(submit_many(history, 16, 2.0, run=0.1))
        await until(lambda: query(world, _FAILED), 20)
        url = f"{world.hooks}/hook/{moving.slug}/moved"
        await world.told("PATCH", f"/v1/endpoint/{moving.endpoint_id}", moving.key, {"url": url})
        await load
    states = await query(world, "SELECT DISTINCT state FROM delivery")
    assert [row["state"] for row in states] == ["delivered"]


async def test_28_the_secret_is_rotated_between_two_attempts(rig: Rig) -> None:
    """While both secrets live both sign: the receiver changes over when it likes."""
    async with drill(rig, "28 secret rotated") as history:
        world, tenant = history.world, history.world.tenants[0]
        await rig.behave(f"/hook/{tenant.slug}", status=500, times=6)
        await world.work()
        load = asyncio.create_task(submit_many(history, 20, 4.0, run=0.1))
        await until(lambda: query(world, _FAILED), 20)
        fresh = format_secret(os.urandom(32))
        rotation = {"secret": fresh, "overlapSeconds": 3600}
        path = f"/v1/endpoint/{tenant.endpoint_id}/rotate-secret"
        await world.told("POST", path, tenant.key, rotation)
        await asyncio.sleep(2)
        # The receiver forgets the old one.
        tenant.secrets[:] = [tenant.secrets[0]]
        await world.trust(tenant, fresh)
        await load
    heads = await query(world, _SIGNATURES, UUID(tenant.endpoint_id))
    assert {row["signatures"] for row in heads} == {1, 2}


@pytest.mark.parametrize("by", ["the receiver", "its tenant"])
async def test_28_what_a_disabled_endpoint_is_owed_is_kept_and_sent_later(
    rig: Rig, by: str
) -> None:
    async with drill(rig, f"28 endpoint disabled by {by}") as history:
        world, leaving = history.world, history.world.tenants[0]
        place = f"/v1/endpoint/{leaving.endpoint_id}"
        await world.work()
        load = asyncio.create_task(submit_many(history, 12, 2.0, run=0.1))
        if by == "the receiver":
            await rig.behave(f"/hook/{leaving.slug}", status=410, times=1)
        else:
            await asyncio.sleep(1)
            await world.told("POST", f"{place}/disable", leaving.key, {})
        disabled = "SELECT 1 FROM endpoint WHERE disabled_at IS NOT NULL"
        await until(lambda: query(world, disabled), 20)
        await load
        await submit_many(history, 6, run=0.1)
        await until_ended(history, history.entries, 20)
        kept = await query(world, _KEPT, UUID(leaving.endpoint_id))
        assert [row["silent"] for row in kept if row["state"] == "parked"] == [0]
        await world.told("POST", f"{place}/enable", leaving.key)
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        await world.told("POST", f"{place}/recover", leaving.key, {"since": since})
        await until(lambda: _is_all_delivered(world, leaving), 30)


async def _is_all_delivered(world: World, tenant: Tenant) -> bool:
    kept = await query(world, _KEPT, UUID(tenant.endpoint_id))
    return {row["state"] for row in kept} == {"delivered"}
