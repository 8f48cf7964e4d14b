"""The health of endpoints: disabled for good reasons, at the right time, and never by a replay."""

import json

import pytest

from gateway.core.model import Tenant
from gateway.flows.deliver.endpoint_health import FAILED
from gateway.flows.deliver.endpoints import delete_endpoint, disable_endpoint, enable_endpoint
from gateway.flows.deliver.resend import resend_delivery
from gateway.flows.health.overview import overview
from gateway.ports import SendFault
from tests.flows.fakes import reply
from tests.flows.scenes import OTHER, endpoint_row, owe, owe_rows
from tests.flows.world import CALLBACK, HOOK, World

DAY = 86_400.0


async def failed(world: World, failures: int, days: float) -> None:
    """Make an endpoint look as if it had failed so often for so many days."""
    await world.run(
        "UPDATE endpoint SET failures = $1, failing_since = now() - $2 * interval '1 second'"
        " WHERE url = $3",
        failures,
        days * DAY,
        HOOK,
    )


async def fail_again(world: World, tenant: Tenant, count: int = 1) -> None:
    """Let so many more attempts fail."""
    endpoint = await endpoint_row(world)
    await owe_rows(world, tenant, endpoint.id, count, "pending")
    world.sender.always[HOOK] = reply(500)
    assert await world.deliver() == count


@pytest.mark.parametrize(
    ("failures", "days", "is_disabled"),
    [(19, 5.0, True), (500, 5.0, True), (18, 60.0, False), (500, 4.99, False)],
)
async def test_only_five_days_and_twenty_attempts_together_disable(
    world: World, failures: int, days: float, is_disabled: bool
):
    tenant = await world.tenant(hook=HOOK)
    await failed(world, failures, days)
    await fail_again(world, tenant)
    row = await endpoint_row(world)
    assert (row.disabled_at is not None) is is_disabled
    assert row.failures == failures + 1


async def test_a_disabled_endpoints_events_are_parked_and_the_others_told(world: World):
    tenant = await world.tenant(hook=HOOK)
    other = await world.endpoint(tenant, OTHER, events=["endpoint.disabled"])
    await world.endpoint(await world.tenant("stranger"), "https://stranger.example.com")
    await failed(world, 30, 6)
    endpoint = await endpoint_row(world)
    waiting = await owe_rows(world, tenant, endpoint.id, 2, "pending")
    await world.run("UPDATE delivery SET next_at = now() + interval '1 hour'")
    await fail_again(world, tenant, 2)
    row = await endpoint_row(world)
    assert row.disabled_reason == "every attempt failed for five days"
    rows = {row.id: row for row in await world.deliveries()}
    assert {rows[id_].state for id_ in waiting} == {"parked"}
    told = [row for row in rows.values() if row.type == "endpoint.disabled"]
    assert [(row.endpoint_id, row.state) for row in told] == [(other, "pending")]
    assert [verb for verb, _ in world.queue.wakes].count("deliver") >= 1
    assert await world.deliver() == 1
    body = json.loads(world.sender.to(OTHER)[0].body)
    assert body["data"] == {"endpoint": {"id": str(endpoint.id)}, "reason": row.disabled_reason}
    await world.ended(tenant)
    assert [row.state for row in await world.deliveries() if row.job_id] == ["parked"]


async def test_failures_are_counted_from_the_first_to_the_first_success(world: World):
    tenant = await world.tenant(hook=HOOK)
    await fail_again(world, tenant, 3)
    row = await endpoint_row(world)
    assert (row.failures, row.failing_since is not None) == (3, True)
    await failed(world, 15, 5)
    world.sender.always.clear()
    await world.ended(tenant)
    assert await world.deliver() == 1
    row = await endpoint_row(world)
    assert (row.failures, row.failing_since) == (0, None)
    await fail_again(world, tenant, 5)
    row = await endpoint_row(world)
    assert (row.failures, row.disabled_at) == (5, None)


async def test_one_success_among_failures_of_the_same_moment_counts_more(world: World):
    tenant = await owe(world, 2)
    await failed(world, 30, 6)
    world.sender.will(HOOK, reply(500), reply(200))
    assert await world.deliver() == 2
    row = await endpoint_row(world)
    assert row.disabled_at is None
    assert row.failures <= 1
    assert tenant.slug == row.tenant


async def test_a_replay_that_fails_says_nothing_of_the_endpoint_but_one_that_arrives_does(
    world: World,
):
    tenant = await world.tenant(hook=HOOK)
    endpoint = await endpoint_row(world)
    ids = await owe_rows(world, tenant, endpoint.id, 25)
    await failed(world, 19, 6)
    for id_ in ids:
        await resend_delivery(world.deps, tenant.id, id_)
    world.sender.always[HOOK] = reply(500)
    for _ in range(10):
        assert await world.deliver() == 2, "one that only fails has two places"
    row = await endpoint_row(world)
    assert (row.failures, row.disabled_at) == (19, None)
    world.sender.always[HOOK] = reply(200)
    assert await world.deliver() == 2
    row = await endpoint_row(world)
    assert (row.failures, row.failing_since) == (0, None)
    assert await world.deliver() == 3, "it has all its places again"


async def test_gone_in_answer_to_a_replay_disables_as_ever(world: World):
    tenant = await world.tenant(hook=HOOK)
    (id_,) = await owe_rows(world, tenant, (await endpoint_row(world)).id, 1)
    await resend_delivery(world.deps, tenant.id, id_)
    world.sender.will(HOOK, reply(410))
    await world.deliver()
    assert (await endpoint_row(world)).disabled_reason == "the receiver answered 410 Gone"
    (delivery,) = [row for row in await world.deliveries() if row.type == "test.ping"]
    assert delivery.state == "parked"


async def test_our_own_way_out_is_not_charged_to_the_endpoint(world: World):
    tenant = await world.tenant(hook=HOOK)
    await failed(world, 19, 6)
    await owe_rows(world, tenant, (await endpoint_row(world)).id, 3, "pending")
    world.sender.always[HOOK] = SendFault("egress", "the egress proxy is away", 0.1)
    assert await world.deliver_all() == 3
    row = await endpoint_row(world)
    assert (row.failures, row.disabled_at) == (19, None)
    assert {row.last_class for row in await world.deliveries()} == {"egress"}
    await fail_again(world, tenant)
    assert (await endpoint_row(world)).disabled_at is not None


async def test_an_endpoint_that_rests_is_failing_too(world: World):
    tenant = await world.tenant(hook=HOOK)
    await failed(world, 19, 6)
    await owe_rows(world, tenant, (await endpoint_row(world)).id, 1, "pending")
    world.sender.will(HOOK, reply(503))
    await world.deliver()
    assert (await endpoint_row(world)).disabled_at is not None


async def test_an_endpoint_that_is_disabled_already_is_left_alone(world: World):
    tenant = await owe(world, 1)
    await failed(world, 30, 6)
    world.sender.will(HOOK, reply(500))
    assert await world.deliverer.claim(1) == 1
    await world.run("UPDATE endpoint SET disabled_at = now(), disabled_reason = 'by hand'")
    await world.idle()
    row = await endpoint_row(world)
    assert (row.failures, row.disabled_reason) == (30, "by hand")
    assert await world.event_types() == ["job.succeeded"]
    assert tenant.slug == row.tenant


async def test_callbacks_have_no_health(world: World):
    tenant = await world.tenant(hook=HOOK, events=["job.failed"])
    await world.ended(tenant, 2, callback_url=CALLBACK)
    world.sender.always[CALLBACK] = reply(500)
    assert await world.deliver() == 2
    assert (await endpoint_row(world)).failures == 0


async def test_two_endpoints_of_one_moment_are_judged_each_by_its_own(world: World):
    tenant = await world.tenant(hook=HOOK, events=["job.succeeded"])
    await world.endpoint(tenant, OTHER, events=["job.succeeded"])
    await world.ended(tenant, 2)
    world.sender.always[HOOK] = reply(500)
    world.sender.will(OTHER, reply(200), reply(410))
    assert await world.deliver() == 4
    first, second = await endpoint_row(world), await endpoint_row(world, OTHER)
    assert (first.failures, first.disabled_at) == (2, None)
    assert (second.failures, second.disabled_at is not None) == (0, True)


async def test_how_many_endpoints_are_ill_and_how_many_were_disabled_for_it_is_told(world: World):
    tenant = await world.tenant(hook=HOOK)
    gone, by_hand = [
        await world.endpoint(tenant, url, events=["job.failed"])
        for url in (OTHER, "https://hand.example.com")
    ]

    async def told() -> list[int]:
        failing = (await overview(world.deps)).failing
        return [failing[percent] for percent in (50, 70, 90, 100)]

    await disable_endpoint(world.deps, tenant.id, by_hand)
    await world.deliver_all()
    await failed(world, 30, 4)
    assert await told() == [1, 1, 0, 0]
    await failed(world, 30, 6)
    await fail_again(world, tenant)
    assert (await endpoint_row(world)).disabled_reason == FAILED
    assert await told() == [1, 1, 1, 1]
    await owe_rows(world, tenant, gone, 1, "pending")
    world.sender.will(OTHER, reply(410))
    assert await world.deliver_all() >= 1
    assert await told() == [2, 2, 2, 2]
    await enable_endpoint(world.deps, tenant.id, (await endpoint_row(world)).id)
    await delete_endpoint(world.deps, tenant.id, gone)
    assert await told() == [0, 0, 0, 0]
