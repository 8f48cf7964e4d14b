"""Rows whose handling fails each time: they are given up with a reason, and stop nobody else."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.faults.drills.drill import drill, query, supervised, until_ended
from tests.faults.harness.fault_injection import POISONS
from tests.faults.harness.history import Entry, History
from tests.faults.harness.rig import Rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import SHORT, start_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

_POLICY = {**SHORT, "strikes": 3}
_FAULTS = {"poison": True, "stuck": 2}
_FAULTS_BY_KIND: dict[str, dict[str, Any]] = {"memory": {**_FAULTS, "memory": 256 * 1024 * 1024}}
_AT_POISON = "SELECT state, last_error FROM delivery WHERE url LIKE '%/poison-%'"
_SPOIL_SECRET = """
UPDATE signing_secret s SET sealed = '\\x00' FROM tenant t
WHERE t.id = s.tenant_id AND t.slug = $1"""
# Ends only: whether a start is seen depends on when a job is polled.
_DELIVERED = """
SELECT count(*) FROM delivery d JOIN tenant t ON t.id = d.tenant_id JOIN event e ON e.id = d.event_id
WHERE t.slug = $1 AND d.state = 'delivered' AND e.type = 'job.succeeded' HAVING count(*) = $2"""


@pytest.mark.parametrize("kind", POISONS)
async def test_32_a_job_that_cannot_be_submitted(rig: Rig, kind: str) -> None:
    async with drill(
        rig, f"32 a job that meets {kind}", links=False, policy=_POLICY, seconds=120
    ) as history:
        world, (ill, other) = history.world, history.world.tenants
        await _submit_some(history)
        poisoned = await history.submit(ill, name=f"poison {kind}")
        healthy = await _submit_some(history)
        async with supervised(world, faults=_FAULTS_BY_KIND.get(kind, _FAULTS)):
            await until_ended(history, healthy, 90)
            await until_ended(history, [poisoned], 90)
            late = await history.submit(other)
            await until_ended(history, [late], 20)
    await _is_given_up(history, poisoned, "GATEWAY_FAULT")


@pytest.mark.parametrize("kind", ["unstorable", "raise", "killed"])
async def test_32_a_job_whose_end_cannot_be_read(rig: Rig, kind: str) -> None:
    async with drill(
        rig, f"32 an end that meets {kind}", links=False, policy=_POLICY, seconds=120
    ) as history:
        world, ill = history.world, history.world.tenants[0]
        poisoned = await history.submit(ill, plan={"result": {"poison": kind}})
        healthy = await _submit_some(history)
        async with supervised(world, faults=_FAULTS_BY_KIND.get(kind, _FAULTS)):
            await until_ended(history, healthy, 90)
            await until_ended(history, [poisoned], 90)
    await _is_given_up(history, poisoned, "UPSTREAM_UNREADABLE")


@pytest.mark.parametrize("kind", POISONS)
async def test_32_a_delivery_that_cannot_be_sent(rig: Rig, kind: str) -> None:
    async with drill(
        rig, f"32 a delivery that meets {kind}", links=False, policy=_POLICY, seconds=120
    ) as history:
        world, ill = history.world, history.world.tenants[0]
        callback = f"{world.hooks}/hook/{ill.slug}/poison-{kind}"
        await history.submit(ill, callbackUrl=callback)
        healthy = await _submit_some(history)
        async with supervised(world, faults=_FAULTS_BY_KIND.get(kind, _FAULTS)):
            await until_ended(history, healthy, 60)

            async def are_delivered() -> bool:
                rows = await query(
                    world, f"{_AT_POISON.replace('LIKE', 'NOT LIKE')} OR url IS NULL"
                )
                return {row["state"] for row in rows} == {"delivered"}

            await until(are_delivered, 90)
            given_up = f"{_AT_POISON} AND state = 'parked'"
            parked = await until(lambda: query(world, given_up), 90)
    assert [bool(row["last_error"]) for row in parked] == [True]


async def test_32_a_secret_that_cannot_be_opened_stops_no_other_tenant(rig: Rig) -> None:
    async with start_world(rig, policy=SHORT) as world:
        history = History(world)
        ill, healthy = world.tenants
        await query(world, _SPOIL_SECRET, ill.slug)
        entries = [await history.submit(one) for one in (ill, healthy) for _ in range(3)]
        await world.work()
        await until_ended(history, entries, 30)
        try:
            await until(lambda: query(world, _DELIVERED, healthy.slug, 3), 20)
        except TimeoutError:
            pytest.fail(world.complaints(), pytrace=False)


@pytest.mark.parametrize(
    "result",
    [
        {"text": "\x00"},
        {"number": 1e308, "deep": [[[[[[]]]]]]},
        {"long": "x" * 3_000_000},
    ],
    ids=["nul", "odd", "long"],
)
async def test_32_a_result_that_is_hard_to_store_stops_no_neighbour(
    rig: Rig, result: object
) -> None:
    async with drill(rig, "32 odd result", links=False, policy=SHORT) as history:
        world, tenant = history.world, history.world.tenants[0]
        plan = {"workflow": "audio-encoder", "defaults": {"plan": {"result": result}}}
        await rig.control("", plan)
        odd = await history.submit(tenant, workflow="audio-encoder")
        entries = [odd, *[await history.submit(tenant) for _ in range(6)]]
        await world.work()
        await until_ended(history, entries, 30)


async def _submit_some(history: History) -> Sequence[Entry]:
    """Neighbours of what is poisoned: of its tenant, and of another."""
    return [await history.submit(one) for one in history.world.tenants for _ in range(4)]


async def _is_given_up(history: History, entry: Entry, code: str) -> None:
    sql = "SELECT state, error->>'code' AS code, error->>'message' AS why FROM job WHERE id = $1"
    (row,) = await query(history.world, sql, entry.job_id)
    assert (row["state"], row["code"]) == ("failed", code)
    assert row["why"]
