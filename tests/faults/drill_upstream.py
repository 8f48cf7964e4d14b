"""Faults of the upstream and of the link to it."""

import asyncio

import pytest

from tests.faults.drills import add_fault, drill, query, submit_many, until_ended
from tests.faults.rig import Rig
from tests.faults.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_15_a_burst_of_server_errors(rig: Rig) -> None:
    async with drill(rig, "15 500, 502, 503", seconds=120) as history:
        world = history.world
        for status, route in ((500, "submit"), (503, "submit"), (502, "list"), (503, "status")):
            for tenant in world.tenants:
                action = {"type": "respond", "status": status}
                await add_fault(rig, tenant, route, action, times=3)
        await world.work()
        await submit_many(history, 30, 2.0, run=0.5)


@pytest.mark.parametrize("header", ["1", "-5", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_16_told_to_wait(rig: Rig, header: str) -> None:
    async with drill(rig, f"16 429 Retry-After {header}") as history:
        world = history.world
        limited, other = world.tenants
        action = {"type": "respond", "status": 429, "headers": {"retry-after": header}}
        await add_fault(rig, limited, "submit", action, times=3)
        await world.work()
        for tenant in (limited, other):
            await asyncio.gather(*(history.submit(tenant) for _ in range(5)))
        theirs = [entry for entry in history.entries if entry.tenant is other]
        await until_ended(history, theirs, 15)


async def test_16_told_to_wait_absurdly_long(rig: Rig) -> None:
    async with drill(rig, "16 429 Retry-After 99999999") as history:
        world, limited = history.world, history.world.tenants[0]
        action = {"type": "respond", "status": 429, "headers": {"retry-after": "99999999"}}
        await add_fault(rig, limited, "submit", action, times=1)
        await world.work()
        await history.submit(limited)
        paused = "SELECT paused_until - now() AS rest FROM credential WHERE paused_until > now()"
        found = await until(lambda: query(world, paused), 10)
        assert [row["rest"].total_seconds() <= 600 for row in found] == [True]
        # As if these ten minutes had gone by.
        await query(world, "UPDATE credential SET paused_until = now()")
        await query(world, "UPDATE job SET next_at = now()")


async def test_17_the_answer_is_lost_after_the_job_was_taken(rig: Rig) -> None:
    async with drill(rig, "17 ambiguous answers", seconds=90) as history:
        world = history.world
        late = {"type": "respond", "status": 504, "body": "html"}
        for then in ("reset", "close", late, "hang"):
            action = {"type": "ambiguous", "then": then, "hangSeconds": 12}
            for tenant in world.tenants:
                await add_fault(rig, tenant, "submit", action, times=2)
        await world.work()
        await submit_many(history, 30, 1.0)


async def test_17_the_link_to_the_upstream_is_reset_by_halves(rig: Rig) -> None:
    async with drill(rig, "17 link reset in the answer", seconds=90) as history:
        world = history.world
        assert world.links is not None
        proxy = world.links.upstream
        await world.work()
        load = asyncio.create_task(submit_many(history, 40, 4.0))
        for _ in range(3):
            await asyncio.sleep(0.6)
            proxy.limit = 40
            await asyncio.sleep(0.4)
            proxy.heal()
        await load
        assert proxy.hits >= 1


async def test_18_a_revoked_credential_stops_its_tenant_alone(rig: Rig) -> None:
    async with drill(rig, "18 credential revoked") as history:
        world = history.world
        revoked, other = world.tenants
        await rig.control("/keys", {"key": revoked.upstream_key, "state": "revoked"})
        await world.work()
        for tenant in (revoked, other):
            await asyncio.gather(*(history.submit(tenant) for _ in range(10)))
        theirs = [entry for entry in history.entries if entry.tenant is other]
        await until_ended(history, theirs, 15)
        told = "SELECT type FROM event WHERE type = 'credential.rejected'"
        await until(lambda: query(world, told), 10)
        await asyncio.sleep(2)
        assert len(await query(world, told)) == 1
        waiting = await query(world, "SELECT count(*) FROM job WHERE state = 'accepted'")
        assert waiting[0][0] == 10
        path = f"/admin/v1/tenant/{revoked.slug}/credential"
        await world.told("PUT", path, rig.operator_key, {"apiKey": f"{revoked.upstream_key}-2"})


@pytest.mark.parametrize(
    "plan",
    [
        {"statusSequence": [[0, "STARTED"], [0.3, "QUEUED"], [0.3, "STARTED"], [0.3, "SUCCEEDED"]]},
        {"statusSequence": [[0, "STARTED"], [0.3, "SUCCEEDED"], [0.2, "STARTED"], [0.5, "FAILED"]]},
        {"hiddenSeconds": 2},
        {"staleReads": 3},
        {"listLagSeconds": 3},
    ],
    ids=["backwards", "two ends", "hidden", "stale", "lagging list"],
)
async def test_19_polls_that_lie_to_two_workers(rig: Rig, plan: object) -> None:
    async with drill(rig, f"19 {plan}", seconds=130) as history:
        for _ in range(2):
            await history.world.work()
        await submit_many(history, 20, 1.0, plan=plan)


async def test_20_answers_that_are_garbage(rig: Rig) -> None:
    async with drill(rig, "20 garbage", seconds=170) as history:
        world = history.world
        for body in ("html", "truncated", "empty"):
            for route in ("list", "status", "get"):
                action = {"type": "respond", "status": 200, "body": body}
                await add_fault(rig, world.tenants[0], route, action, times=2)
        huge = {"type": "respond", "status": 200, "body": "huge", "bytes": 200_000_000}
        await add_fault(rig, world.tenants[1], "list", huge, times=1)
        await world.work()
        await submit_many(history, 20, 1.0)


async def test_15_the_upstream_is_away(rig: Rig) -> None:
    async with drill(rig, "15 upstream away 6 s", seconds=90) as history:
        world = history.world
        assert world.links is not None
        await world.work()
        await submit_many(history, 10, run=0.2)
        world.links.upstream.cut()
        await submit_many(history, 30, 6.0, run=0.2)
        assert history.calls["failed"] == history.calls["unknown"] == 0
        world.links.upstream.heal()
