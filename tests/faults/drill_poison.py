"""Rows whose handling fails each time: they are given up with a reason, and stop nobody else."""

import pytest

from tests.faults.drills import query, until_ended
from tests.faults.history import History
from tests.faults.rig import Rig
from tests.faults.waiting import until
from tests.faults.world import SHORT, start_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SPOIL_SECRET = """
UPDATE signing_secret s SET sealed = '\\x00' FROM tenant t
WHERE t.id = s.tenant_id AND t.slug = $1"""
_DELIVERED = """
SELECT count(*) FROM delivery d JOIN tenant t ON t.id = d.tenant_id
WHERE t.slug = $1 AND d.state = 'delivered' HAVING count(*) = $2"""


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
            pytest.fail(world.log("worker")[-3000:], pytrace=False)


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
    async with start_world(rig, policy=SHORT) as world:
        history, tenant = History(world), world.tenants[0]
        plan = {"workflow": "audio-encoder", "defaults": {"plan": {"result": result}}}
        await rig.control("", plan)
        odd = await history.submit(tenant, workflow="audio-encoder")
        entries = [odd, *[await history.submit(tenant) for _ in range(6)]]
        await world.work()
        await until_ended(history, entries, 30)
