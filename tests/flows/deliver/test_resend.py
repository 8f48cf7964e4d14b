"""Resend: the same event under the same id, with a schedule of its own."""

from uuid import uuid4

import pytest

from gateway.errors import Conflict, NotFound
from gateway.flows.deliver.endpoints import delete_endpoint, disable_endpoint
from gateway.flows.deliver.resend import resend_delivery
from tests.flows.fakes import Gate, reply
from tests.flows.scenes import attempts, endpoint_row, owe
from tests.flows.world import CALLBACK, HOOK, World


async def test_a_delivered_event_is_sent_again_under_its_id_with_its_bytes(world: World):
    tenant = await owe(world)
    await world.deliver()
    (before,) = await world.deliveries()
    world.queue.wakes.clear()
    resent = await resend_delivery(world.deps, tenant.id, before.id)
    assert (resent.id, resent.state, resent.resent_at is not None) == (before.id, "pending", True)
    assert world.queue.wakes == [("deliver", 0.0)]
    assert await world.deliver() == 1
    first, second = world.sender.sent
    assert first.body == second.body
    assert dict(first.headers)["webhook-id"] == dict(second.headers)["webhook-id"]
    (after,) = await world.deliveries()
    assert (after.id, after.state, after.attempts) == (before.id, "delivered", 2)
    assert [attempt.number for attempt in await attempts(world)] == [1, 2]


async def test_an_exhausted_delivery_gets_all_its_retries_anew(world: World):
    tenant = await owe(world)
    await world.run("UPDATE delivery SET state = 'exhausted', attempts = 10")
    (delivery,) = await world.deliveries()
    await resend_delivery(world.deps, tenant.id, delivery.id)
    world.sender.always[HOOK] = reply(500)
    delays: list[int] = []
    while await world.deliver():
        (delivery,) = await world.deliveries()
        delays.append(round(delivery.due_in / 1.05) if delivery.state == "pending" else 0)
        await world.pass_time(max(delivery.due_in, 0) + 1)
    assert delays == [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, 0]
    assert (delivery.state, delivery.attempts) == ("exhausted", 20)


async def test_one_that_waits_for_its_next_attempt_is_sent_now(world: World):
    tenant = await owe(world)
    world.sender.will(HOOK, reply(500))
    await world.deliver()
    assert await world.deliver() == 0
    (delivery,) = await world.deliveries()
    await resend_delivery(world.deps, tenant.id, delivery.id)
    assert await world.deliver() == 1
    assert [row.state for row in await world.deliveries()] == ["delivered"]


async def test_one_whose_endpoint_rests_is_sent_now(world: World):
    tenant = await owe(world)
    world.sender.will(HOOK, reply(503, [("retry-after", "3600")]))
    await world.deliver()
    (delivery,) = await world.deliveries()
    await resend_delivery(world.deps, tenant.id, delivery.id)
    assert await world.deliver() == 1
    assert [row.state for row in await world.deliveries()] == ["delivered"]


async def test_one_that_is_being_sent_stays_as_it_is(world: World):
    tenant = await owe(world)
    world.sender.gate = held = Gate()
    await world.deliverer.claim(10)
    await held.came.wait()
    (before,) = await world.deliveries()
    found = await resend_delivery(world.deps, tenant.id, before.id)
    assert (found.state, found.resent_at) == ("pending", None)
    assert await world.deliverer.claim(10) == 0
    held.open.set()
    await world.idle()
    (after,) = await world.deliveries()
    assert (after.state, after.attempts) == ("delivered", 1)


async def test_a_callback_can_be_sent_again(world: World):
    tenant = await world.tenant()
    await world.ended(tenant, callback_url=CALLBACK)
    world.sender.will(CALLBACK, reply(410))
    await world.deliver()
    (delivery,) = await world.deliveries()
    assert delivery.state == "exhausted"
    await resend_delivery(world.deps, tenant.id, delivery.id)
    await world.deliver()
    assert [row.state for row in await world.deliveries()] == ["delivered"]


async def test_a_delivery_without_a_receiver_is_not_resent(world: World):
    tenant = await owe(world)
    await world.deliver()
    (delivery,) = await world.deliveries()
    endpoint = await endpoint_row(world)
    await disable_endpoint(world.deps, tenant.id, endpoint.id)
    with pytest.raises(Conflict, match=r"disabled\. Enable it first"):
        await resend_delivery(world.deps, tenant.id, delivery.id)
    await delete_endpoint(world.deps, tenant.id, endpoint.id)
    with pytest.raises(Conflict, match="was deleted"):
        await resend_delivery(world.deps, tenant.id, delivery.id)
    assert [row.state for row in await world.deliveries() if row.job_id] == ["delivered"]


async def test_a_delivery_that_is_missing_or_anothers_cannot_be_resent(world: World):
    tenant, other = await owe(world), await world.tenant("other")
    (delivery,) = await world.deliveries()
    for tenant_id, wanted in ((tenant.id, uuid4()), (other.id, delivery.id)):
        with pytest.raises(NotFound):
            await resend_delivery(world.deps, tenant_id, wanted)
    assert [row.resent_at for row in await world.deliveries()] == [None]
