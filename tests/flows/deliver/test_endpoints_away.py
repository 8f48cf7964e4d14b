"""Administration of endpoints: disabled, enabled, deleted."""

import json
from uuid import uuid4

import pytest

from gateway.errors import NotFound
from gateway.flows.deliver.endpoints import (
    change_endpoint,
    delete_endpoint,
    disable_endpoint,
    enable_endpoint,
)
from gateway.store.webhooks import endpoints
from tests.flows.fakes import reply
from tests.flows.scenes import OTHER, endpoint_row, owe
from tests.flows.world import HOOK, World


async def test_a_disabled_endpoint_is_owed_its_events_and_sent_none(world: World):
    tenant = await owe(world, 2)
    endpoint = await endpoint_row(world)
    disabled = await disable_endpoint(world.deps, tenant.id, endpoint.id)
    assert disabled.disabled_at is not None
    assert disabled.disabled_reason == "disabled by hand"
    await world.ended(tenant)
    assert await world.deliver() == 0
    rows = await world.deliveries()
    assert [row.state for row in rows] == ["parked"] * 3
    enabled = await enable_endpoint(world.deps, tenant.id, endpoint.id)
    assert (enabled.endpoint.disabled_at, enabled.endpoint.disabled_reason) == (None, None)
    assert enabled.parked == 3
    assert await world.deliver() == 0, "what is parked is sent when somebody asks for it"
    await world.ended(tenant)
    assert await world.deliver() == 1


async def test_the_tenants_others_are_told_of_a_disabled_endpoint_once(world: World):
    tenant = await world.tenant(hook=HOOK)
    other = await world.endpoint(tenant, OTHER)
    await world.endpoint(tenant, "https://deaf.example.com", events=["job.failed"])
    await world.endpoint(await world.tenant("stranger"), "https://stranger.example.com")
    endpoint = await endpoint_row(world)
    for reason in ("moving", "again"):
        await disable_endpoint(world.deps, tenant.id, endpoint.id, reason)
    (told,) = await world.deliveries()
    assert (told.endpoint_id, told.type, told.state) == (other, "endpoint.disabled", "pending")
    (event,) = await world.events()
    data = json.loads(event.body)["data"]
    assert data == {"endpoint": {"id": str(endpoint.id)}, "reason": "moving"}
    assert (event.endpoint_id, event.is_sample) == (endpoint.id, False)
    assert (await endpoint_row(world)).disabled_reason == "moving"
    assert world.queue.wakes[-1][0] == "deliver"


async def test_where_nobody_else_listens_the_event_is_kept_all_the_same(world: World):
    tenant = await world.tenant(hook=HOOK)
    world.queue.wakes.clear()
    await disable_endpoint(world.deps, tenant.id, (await endpoint_row(world)).id)
    assert await world.event_types() == ["endpoint.disabled"]
    assert await world.deliveries() == []
    assert world.queue.wakes == []


async def test_an_attempt_under_way_when_its_endpoint_is_disabled_is_recorded(world: World):
    tenant = await owe(world)
    endpoint = await endpoint_row(world)
    world.sender.will(HOOK, reply(200))
    assert await world.deliverer.claim(10) == 1
    await disable_endpoint(world.deps, tenant.id, endpoint.id)
    await world.idle()
    assert [row.state for row in await world.deliveries()] == ["delivered"]


async def test_an_enabled_endpoint_begins_with_a_clean_record(world: World):
    tenant = await owe(world)
    endpoint = await endpoint_row(world)
    await world.run(
        "UPDATE endpoint SET failures = 30, failing_since = now() - interval '6 days',"
        " paused_until = now() + interval '1 hour'"
    )
    await disable_endpoint(world.deps, tenant.id, endpoint.id)
    await enable_endpoint(world.deps, tenant.id, endpoint.id)
    await world.ended(tenant)
    world.sender.will(HOOK, reply(500))
    assert await world.deliver() == 1
    row = await endpoint_row(world)
    assert (row.failures, row.disabled_at) == (1, None)


# --- Delete -----------------------------------------------------------------------------------------


async def test_a_deleted_endpoint_is_gone_and_its_deliveries_have_ended(world: World):
    tenant = await world.tenant(hook=HOOK)
    await world.ended(tenant)
    (delivery,) = await world.deliveries()
    await delete_endpoint(world.deps, tenant.id, delivery.endpoint_id)
    async with world.deps.db.single() as tx:
        assert await endpoints.page(tx, tenant.id, after=None, limit=9) == []
    assert await world.deliver() == 0
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.last_error) == ("exhausted", "the endpoint was deleted")
    with pytest.raises(NotFound):
        await delete_endpoint(world.deps, tenant.id, delivery.endpoint_id)


async def test_an_endpoint_that_is_missing_or_anothers_cannot_be_changed(world: World):
    acme, other = await world.tenant(), await world.tenant("other")
    endpoint_id = await world.endpoint(acme, HOOK)
    for tenant_id, wanted in ((acme.id, uuid4()), (other.id, endpoint_id)):
        for act in (
            delete_endpoint(world.deps, tenant_id, wanted),
            enable_endpoint(world.deps, tenant_id, wanted),
            disable_endpoint(world.deps, tenant_id, wanted),
            change_endpoint(world.deps, tenant_id, wanted, {"description": "mine"}),
        ):
            with pytest.raises(NotFound):
                await act
    row = await endpoint_row(world)
    assert (row.description, row.disabled_at, row.deleted_at) == ("", None, None)
