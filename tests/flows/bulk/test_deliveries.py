"""Bulk operations on deliveries: counted first, then sent again, and no other tenant's."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from gateway.core.model import Tenant
from gateway.core.webhooks.signed_request import SendFault
from gateway.errors import Conflict, NotFound
from gateway.flows.bulk.deliveries import DeliverySpan, recover, replay_missing, resend
from gateway.flows.bulk.start import DryRun
from gateway.flows.deliver.endpoints import delete_endpoint, disable_endpoint, enable_endpoint
from gateway.flows.deliver.resend import resend_delivery
from gateway.flows.deliver.sample import try_endpoint
from gateway.store.delivery_search import log
from gateway.store.delivery_search.filter import DeliveryFilter
from tests.flows.bulk_scenes import (
    EVER,
    LONG_AGO,
    add_events,
    began,
    operation,
    receiver,
    run_all,
)
from tests.flows.fakes import reply
from tests.flows.scenes import OTHER, endpoint_row, owe_rows
from tests.flows.world import HOOK, World

# --- What is sent again -----------------------------------------------------------------------------


async def test_failed_deliveries_since_an_instant_are_recovered(world: World):
    tenant, endpoint_id = await receiver(world)
    failed = await owe_rows(world, tenant, endpoint_id, 2, "exhausted")
    failed += await owe_rows(world, tenant, endpoint_id, 1, "parked")
    old = await owe_rows(world, tenant, endpoint_id, 1, "exhausted")
    await world.run(
        "UPDATE delivery SET created_at = now() - interval '2 days' WHERE id = $1", old[0]
    )
    await owe_rows(world, tenant, endpoint_id, 1, "delivered")
    await owe_rows(world, tenant, await world.endpoint(tenant, OTHER), 1, "exhausted")
    since = world.clock.now() - timedelta(days=1)
    assert await recover(
        world.deps, tenant.id, endpoint_id, DeliverySpan(since), dry_run=True
    ) == DryRun(3, {"exhausted": 2, "parked": 1})
    world.queue.wakes.clear()
    made = began(await recover(world.deps, tenant.id, endpoint_id, DeliverySpan(since)))
    assert (made.kind, made.endpoint_id, made.total, made.done) == ("recover", endpoint_id, 3, 0)
    assert made.state == "running"
    assert [verb for verb, _ in world.queue.wakes] == ["bulk"]
    await run_all(world)
    row = await operation(world)
    assert (row.state, row.done, row.completed_at is not None) == ("done", 3, True)
    assert ("deliver", 0.0) in world.queue.wakes
    assert await world.deliver() == 3
    again = [row.id for row in await world.deliveries() if row.resent_at]
    assert again == failed
    assert world.seen("bulk") == [
        ("done", {"kind": "recover", "tenant_id": tenant.id, "rows": 3, "done": 3, "total": 3}),
    ]


async def test_a_resend_sends_all_that_its_filter_selects_delivered_or_not(world: World):
    tenant, endpoint_id = await receiver(world)
    states = ("delivered", "exhausted", "parked", "pending")
    ids = [(await owe_rows(world, tenant, endpoint_id, 1, state))[0] for state in states]
    await world.run("UPDATE delivery SET last_class = 'timeout' WHERE id = $1", ids[1])
    counted = DryRun(4, dict.fromkeys(("pending", "delivered", "exhausted", "parked"), 1))
    assert await resend(world.deps, DeliveryFilter(tenant.id), dry_run=True) == counted
    wanted = DeliveryFilter(
        tenant.id,
        (endpoint_id,),
        ("exhausted", "parked"),
        ("test.ping",),
        (),
        ("timeout",),
        LONG_AGO,
        world.clock.now() + timedelta(days=1),
    )
    made = began(await resend(world.deps, wanted))
    assert (made.kind, made.endpoint_id, made.total) == ("resend", endpoint_id, 1)
    await run_all(world)
    rows = {row.id: row for row in await world.deliveries()}
    assert [rows[id_].resent_at is not None for id_ in ids] == [False, True, False, False]


# --- After an outage --------------------------------------------------------------------------------


async def outage(world: World, count: int, attempts: int = 3) -> tuple[Tenant, UUID]:
    """Jobs that ended while the receiver was down; their next attempt is hours away."""
    tenant = await world.tenant(hook=HOOK, events=["job.succeeded"])
    world.sender.always[HOOK] = SendFault("connect", "refused", 0.0)
    await world.ended(tenant, count)
    due = 0.0
    for _ in range(attempts):
        await world.deliver_all()
        due = max(row.due_in for row in await world.deliveries())
        await world.pass_time(due + 1)
    await world.pass_time(-due - 1)  # the next attempt is still to come
    del world.sender.always[HOOK]
    return tenant, (await endpoint_row(world)).id


async def test_a_recovery_sends_waiting_deliveries_at_once(world: World):
    tenant, endpoint_id = await outage(world, 2)
    assert await world.deliver_all() == 0
    since = DeliverySpan(world.clock.now() - timedelta(hours=2))
    dry = await recover(world.deps, tenant.id, endpoint_id, since, dry_run=True)
    assert dry == DryRun(2, {"pending": 2})
    made = began(await recover(world.deps, tenant.id, endpoint_id, since))
    await run_all(world)
    assert (made.total, (await operation(world)).done) == (2, 2)
    assert await world.deliver_all() == 2
    await world.pass_time(4 * 86_400)
    assert await world.deliver_all() == 0, "a success ends the schedule"
    assert {row.state for row in await world.deliveries()} == {"delivered"}


async def test_an_attempt_brought_forward_takes_none_from_the_schedule(world: World):
    tenant, endpoint_id = await outage(world, 1)
    world.sender.always[HOOK] = reply(500)
    delays: list[int] = []
    for _ in range(2):
        await recover(world.deps, tenant.id, endpoint_id, EVER)
        await run_all(world)
    while await world.deliver():
        (delivery,) = await world.deliveries()
        delays.append(round(delivery.due_in / 1.05) if delivery.state == "pending" else 0)
        await world.pass_time(max(delivery.due_in, 0) + 1)
    assert delays == [1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, 0]
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.attempts) == ("exhausted", 11)


async def test_a_recovery_ends_the_rest_of_an_endpoint(world: World):
    tenant, endpoint_id = await receiver(world)
    other = await world.endpoint(tenant, OTHER)
    await world.run("UPDATE endpoint SET paused_until = now() + interval '9 hours'")
    await owe_rows(world, tenant, endpoint_id, 1, "pending")
    assert await world.deliver() == 0
    await recover(world.deps, tenant.id, endpoint_id, EVER, dry_run=True)
    assert await world.deliver() == 0, "who only counts changes nothing"
    await recover(world.deps, tenant.id, endpoint_id, EVER)
    await run_all(world)
    assert await world.deliver() == 1
    resting = await world.value("SELECT paused_until FROM endpoint WHERE id = $1", other)
    assert resting is not None


async def test_a_receiver_that_comes_back_is_not_flooded(world: World):
    """Two at a time until one arrives, then its window; and the next refusal makes it rest."""
    tenant, endpoint_id = await receiver(world)
    await owe_rows(world, tenant, endpoint_id, 30, "exhausted")
    await world.run("UPDATE endpoint SET failures = 9, failing_since = now() - interval '1 hour'")
    await recover(world.deps, tenant.id, endpoint_id, EVER)
    await run_all(world)
    assert await world.deliver() == 2
    world.sender.always[HOOK] = reply(503)
    assert await world.deliver(5) == 5
    assert await world.deliver() == 0, "it asked for a rest"


async def test_all_receivers_of_a_tenant_are_recovered_at_once(world: World):
    tenant, one = await receiver(world)
    other, disabled = [await world.endpoint(tenant, url) for url in (OTHER, f"{OTHER}/2")]
    mine = await owe_rows(world, tenant, one, 1, "pending")
    mine += await owe_rows(world, tenant, other, 1, "exhausted")
    mine += await owe_rows(world, tenant, None, 1, "exhausted")
    await owe_rows(world, tenant, disabled, 2, "parked")
    await owe_rows(world, tenant, one, 1, "delivered")
    await world.run("UPDATE endpoint SET disabled_at = now() WHERE id = $1", disabled)
    dry = await recover(world.deps, tenant.id, None, EVER, dry_run=True)
    assert dry == DryRun(3, {"pending": 1, "exhausted": 2}, disabled=2)
    made = began(await recover(world.deps, tenant.id, None, EVER))
    await run_all(world)
    assert (made.endpoint_id, (await operation(world)).done) == (None, 3)
    assert [row.id for row in await world.deliveries() if row.resent_at] == mine


async def test_a_recovery_ends_with_its_span(world: World):
    tenant, endpoint_id = await receiver(world)
    await owe_rows(world, tenant, endpoint_id, 2)
    await add_events(world, tenant, 2, "job.failed")
    now = world.clock.now() + timedelta(minutes=1)
    for span, count in (
        (DeliverySpan(LONG_AGO, now), 2),
        (DeliverySpan(LONG_AGO, now - timedelta(hours=1)), 0),
    ):
        for begin in (recover, replay_missing):
            dry = await begin(world.deps, tenant.id, endpoint_id, span, dry_run=True)
            assert isinstance(dry, DryRun)
            assert dry.count == count


async def test_a_test_that_failed_is_over(world: World):
    """It is not tried again, and nothing that sends again takes it for a fact."""
    tenant, endpoint_id = await receiver(world)
    world.sender.always[HOOK] = reply(500)
    trial = await try_endpoint(world.deps, tenant, endpoint_id, "job.failed")
    await world.pass_time(86_400)
    assert await world.deliver_all() == 0
    for endpoint in (endpoint_id, None):
        assert await recover(world.deps, tenant.id, endpoint, EVER, dry_run=True) == DryRun(0)
    by_filter = DeliveryFilter(tenant.id, (endpoint_id,))
    assert await resend(world.deps, by_filter, dry_run=True) == DryRun(0)
    with pytest.raises(Conflict, match="A test is sent once"):
        await resend_delivery(world.deps, tenant.id, trial.delivery_id)
    await resend(world.deps, by_filter)
    await run_all(world)
    assert await world.deliver_all() == 0


async def test_a_sample_is_shown_as_a_test(world: World):
    tenant, endpoint_id = await receiver(world)
    await try_endpoint(world.deps, tenant, endpoint_id)
    await owe_rows(world, tenant, endpoint_id, 1)
    async with world.deps.db.of(tenant.id) as tx:
        found = await log.page(tx, DeliveryFilter(tenant.id), before=None, limit=9)
    assert [one.is_sample for one in found] == [False, True]


# --- Each way of saying what -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["endpoints", "events", "jobs", "outcomes", "resent_after"])
async def test_each_filter_holds_for_the_batches_as_for_the_count(world: World, name: str):
    tenant, endpoint_id = await receiver(world)
    (mine,) = await owe_rows(world, tenant, endpoint_id, 1)
    await owe_rows(world, tenant, await world.endpoint(tenant, OTHER), 2)
    job_id = world.deps.ids.uuid()
    await world.run(
        "UPDATE delivery SET job_id = $2, last_class = 'dns', resent_at = now() WHERE id = $1",
        mine,
        job_id,
    )
    await world.run("UPDATE delivery SET type = 'job.failed' WHERE id = $1", mine)
    await world.run("UPDATE delivery SET spared = 7")
    value = {
        "endpoints": (endpoint_id,),
        "events": ("job.failed",),
        "jobs": (job_id,),
        "outcomes": ("dns",),
        "resent_after": LONG_AGO,
    }[name]
    made = began(await resend(world.deps, DeliveryFilter(tenant.id, **{name: value})))
    assert made.total == 1
    await run_all(world)
    rows = await world.deliveries()
    assert {row.id for row in rows if row.spared == 0} == {mine}
    assert (await operation(world)).done == 1


async def test_events_from_before_the_endpoint_existed_are_made_up_for(world: World):
    tenant = await world.tenant()
    await world.ended(tenant, 3)
    early = await world.events()
    endpoint_id = await world.endpoint(tenant, HOOK, events=["job.succeeded"])
    await world.ended(tenant)
    await add_events(world, tenant, 1, "job.failed")
    other, _ = await receiver(world, "other", OTHER)
    await add_events(world, other, 1, "job.succeeded")
    await world.deliver()
    world.sender.sent.clear()
    assert await replay_missing(world.deps, tenant.id, endpoint_id, EVER, dry_run=True) == DryRun(3)
    made = began(await replay_missing(world.deps, tenant.id, endpoint_id, EVER))
    assert (made.kind, made.total) == ("replay-missing", 3)
    await run_all(world)
    assert await world.deliver() == 3
    sent = {dict(one.headers)["webhook-id"]: one.body for one in world.sender.sent}
    assert sent == {str(event.id): event.body.encode() for event in early}
    assert (await operation(world)).done == 3
    again = await replay_missing(world.deps, tenant.id, endpoint_id, EVER)
    assert (began(again).total, began(again).state) == (0, "done")


async def test_only_events_since_then_are_made_up_for(world: World):
    tenant, endpoint_id = await receiver(world)
    await add_events(world, tenant, 2)
    await world.run("UPDATE event SET created_at = now() - interval '2 days'")
    await add_events(world, tenant, 1)
    since = world.clock.now() - timedelta(days=1)
    await replay_missing(world.deps, tenant.id, endpoint_id, DeliverySpan(since))
    await run_all(world)
    assert len(await world.deliveries()) == 1


async def test_a_sample_for_another_endpoint_is_not_missing(world: World):
    """A sample is no fact: nobody else may take it for one."""
    tenant, endpoint_id = await receiver(world)
    other = await world.endpoint(tenant, OTHER)
    await try_endpoint(world.deps, tenant, other, "job.failed")
    found = await replay_missing(world.deps, tenant.id, endpoint_id, EVER, dry_run=True)
    assert found == DryRun(0)


async def test_its_own_end_is_not_missing_to_an_endpoint(world: World):
    tenant, endpoint_id = await receiver(world)
    await disable_endpoint(world.deps, tenant.id, endpoint_id)
    await enable_endpoint(world.deps, tenant.id, endpoint_id)
    found = await replay_missing(world.deps, tenant.id, endpoint_id, EVER, dry_run=True)
    assert found == DryRun(0)


# --- Whom it may not touch --------------------------------------------------------------------------


async def test_other_tenants_are_untouched(world: World):
    tenant, endpoint_id = await receiver(world)
    other, theirs = await receiver(world, "other", OTHER)
    await owe_rows(world, tenant, endpoint_id, 2)
    await owe_rows(world, other, theirs, 2)
    assert await resend(world.deps, DeliveryFilter(tenant.id), dry_run=True) == DryRun(
        2, {"exhausted": 2}
    )
    foreign = DeliveryFilter(tenant.id, endpoints=(theirs,))
    assert await resend(world.deps, foreign, dry_run=True) == DryRun(0)
    await resend(world.deps, DeliveryFilter(tenant.id))
    await run_all(world)
    rows = await world.deliveries()
    assert {row.tenant_id for row in rows if row.resent_at} == {tenant.id}


@pytest.mark.parametrize("begin", [recover, replay_missing])
async def test_only_an_endpoint_that_is_there_and_enabled_is_sent_again(
    world: World, begin: Callable
):
    tenant, endpoint_id = await receiver(world)
    other = await world.tenant("other")
    for tenant_id, wanted in ((tenant.id, uuid4()), (other.id, endpoint_id)):
        with pytest.raises(NotFound):
            await begin(world.deps, tenant_id, wanted, EVER)
    await disable_endpoint(world.deps, tenant.id, endpoint_id)
    with pytest.raises(Conflict, match=r"disabled\. Enable it first"):
        await begin(world.deps, tenant.id, endpoint_id, EVER)
    assert await world.rows("SELECT * FROM bulk") == []


@pytest.mark.parametrize("end", [disable_endpoint, delete_endpoint])
async def test_a_delivery_without_a_receiver_is_left_as_it_was(world: World, end: Callable):
    """Sent again it would only be put away: a delivered one would read as parked or exhausted."""
    tenant, endpoint_id = await receiver(world)
    await owe_rows(world, tenant, endpoint_id, 1, "delivered")
    await end(world.deps, tenant.id, endpoint_id)
    await resend(world.deps, DeliveryFilter(tenant.id))
    await run_all(world)
    assert [row.state for row in await world.deliveries()] == ["delivered"]


async def test_an_endpoint_deleted_in_the_middle_is_owed_nothing_more(world: World):
    tenant, endpoint_id = await receiver(world)
    await add_events(world, tenant, 3)
    await replay_missing(world.deps, tenant.id, endpoint_id, EVER)
    await delete_endpoint(world.deps, tenant.id, endpoint_id)
    await run_all(world)
    assert await world.deliveries() == []
    assert (await operation(world)).state == "done"
