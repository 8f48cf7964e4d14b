"""Replays: deliveries that are sent again, and events that an endpoint has no delivery of."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import Database, Tx
from gateway.store.delivery_search.filter import DeliveryFilter
from gateway.store.webhooks import replays
from gateway.store.webhooks.replays import Batch
from gateway.store.work import settlement
from gateway.store.work.settlement import NewEvent
from tests.builders import (
    add_deliveries,
    add_endpoint,
    add_event,
    add_tenant,
    claim_deliveries,
    claim_one,
    put,
    row_of,
)

ENDED = ("delivered", "exhausted", "parked")


@pytest.mark.parametrize("state", ENDED)
async def test_a_resent_delivery_is_due_at_once_with_a_schedule_of_its_own(
    tx: Tx, state: str
) -> None:
    tenant = await add_tenant(tx)
    (id_,) = await add_deliveries(tx, tenant, await add_endpoint(tx, tenant), state=state)
    await put(tx, "delivery", id_, attempts=10, spared=2, strikes=1, completed_at=-5, next_at=999)
    await replays.resend(tx, tenant, id_)
    row = await row_of(tx, "delivery", id_)
    assert (row.state, row.attempts, row.spared, row.strikes) == ("pending", 10, 10, 0)
    assert (row.next_at, row.resent_at, row.completed_at) == (row.now, row.now, None)
    (again,) = await claim_deliveries(tx)
    assert (again.attempts, again.spared, again.resent) == (11, 10, True)


@pytest.mark.parametrize(
    ("attempts", "spared", "kept"), [(3, 0, 1), (3, 2, 3), (3, 3, 3), (0, 0, 0)]
)
async def test_a_waiting_delivery_is_brought_forward_and_keeps_its_schedule(
    tx: Tx, attempts: int, spared: int, kept: int
) -> None:
    tenant = await add_tenant(tx)
    (id_,) = await add_deliveries(tx, tenant, await add_endpoint(tx, tenant))
    await put(tx, "delivery", id_, attempts=attempts, spared=spared, strikes=1, next_at=999)
    await replays.resend(tx, tenant, id_)
    row = await row_of(tx, "delivery", id_)
    assert (row.state, row.next_at, row.resent_at) == ("pending", row.now, row.now)
    assert (row.attempts, row.spared, row.strikes) == (attempts, kept, 1)
    await replays.resend(tx, tenant, id_)
    assert (await row_of(tx, "delivery", id_)).spared == kept, "it is due already"


async def test_deliveries_under_way_and_of_other_tenants_are_not_resent(tx: Tx) -> None:
    one, token = await claim_one(tx)
    before = await row_of(tx, "delivery", one.id)
    await replays.resend(tx, one.tenant_id, one.id)
    assert await row_of(tx, "delivery", one.id) == before
    assert before.lease_token == token
    await put(tx, "delivery", one.id, state="exhausted", lease_token=None)
    before = await row_of(tx, "delivery", one.id)
    await replays.resend(tx, await add_tenant(tx), one.id)
    assert await row_of(tx, "delivery", one.id) == before


async def test_a_delivery_whose_lease_has_lapsed_is_due_already(tx: Tx) -> None:
    one, token = await claim_one(tx)
    await put(tx, "delivery", one.id, next_at=-1)
    before = await row_of(tx, "delivery", one.id)
    await replays.resend(tx, one.tenant_id, one.id)
    row = await row_of(tx, "delivery", one.id)
    assert (row.lease_token, row.next_at, row.strikes) == (token, before.next_at, before.strikes)
    assert (row.resent_at, row.spared) == (row.now, 0)


# --- By filter ----------------------------------------------------------------------------------


async def test_batches_go_from_the_oldest_to_the_newest_counted_delivery(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    ids = await add_deliveries(tx, tenant, endpoint, 5, state="exhausted")
    theirs = await add_deliveries(tx, other, await add_endpoint(tx, other), state="exhausted")
    wanted = DeliveryFilter(tenant, (endpoint,), ("exhausted",))
    assert await replays.count(tx, wanted) == (5, ids[4], {"exhausted": 5}, 0)
    await add_deliveries(tx, tenant, endpoint, state="exhausted")
    batches: list[Batch] = []
    after = None
    while not batches or not batches[-1].finished:
        batches.append(await replays.resend_next(tx, wanted, after=after, until=ids[4], limit=2))
        after = batches[-1].last
    assert batches == [
        Batch(2, ids[1], finished=False),
        Batch(2, ids[3], finished=False),
        Batch(1, ids[4], finished=True),
    ]
    assert sorted(one.id for one in await claim_deliveries(tx)) == ids
    assert (await row_of(tx, "delivery", theirs[0])).state == "exhausted"
    assert await replays.count(tx, DeliveryFilter(tenant, states=("parked",))) == (0, None, {}, 0)


FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"endpoints": 1},
    {"states": ("pending", "exhausted", "parked")},
    {"states": ("pending", "exhausted", "parked"), "endpoints": 1},
    {"states": ("exhausted",), "endpoints": 1},
    {"events": ("job.failed",)},
    {"outcomes": ("timeout",)},
    {"outcomes": ("delivered",)},
    {"jobs": 1},
)


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize("filters", FILTERS)
async def test_each_delivery_is_resent_once_with_every_index(
    tx: Tx, monkeypatch: pytest.MonkeyPatch, filters: dict[str, Any], size: int
) -> None:
    """Even if a batch reads fewer rows than it may send, or none that match."""
    monkeypatch.setattr(replays, "_MOST_READ", size)
    tenant, job = await add_tenant(tx), uuid7()
    one, other = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    ids: list[UUID] = []
    for place, state in enumerate((*ENDED, "pending") * 3):
        to = one if place % 3 else other
        ids += await add_deliveries(tx, tenant, to, state=state)
        kind, last = ("job.failed", "timeout") if place % 2 else ("job.succeeded", None)
        await put(tx, "delivery", ids[-1], type=kind, last_class=last, next_at=99)
        await put(tx, "delivery", ids[-1], job_id=job if place % 5 == 0 else uuid7())
    given: dict[str, Any] = {"endpoints": (one,), "jobs": (job,)}
    wanted = DeliveryFilter(tenant, **{k: given.get(k, v) for k, v in filters.items()})
    counted = await replays.count(tx, wanted)
    assert counted.until is not None
    after, rows, finished = None, 0, False
    while not finished:
        done, after, finished = await replays.resend_next(
            tx, wanted, after=after, until=counted.until, limit=2
        )
        rows += done
    sent = await tx.rows("SELECT id FROM delivery WHERE resent_at IS NOT NULL")
    assert rows == len(sent) == counted.total > 0


async def test_samples_and_deliveries_under_way_are_not_resent(tx: Tx) -> None:
    one, _ = await claim_one(tx)
    tenant, endpoint = one.tenant_id, one.endpoint_id
    (sample,) = await add_deliveries(tx, tenant, endpoint, state="exhausted")
    event = (await row_of(tx, "delivery", sample)).event_id
    await put(tx, "event", event, is_sample=True)
    wanted = DeliveryFilter(tenant)
    assert await replays.count(tx, wanted) == (0, None, {}, 0)
    batch = await replays.resend_next(tx, wanted, after=None, until=sample, limit=9)
    assert (batch.rows, batch.finished) == (0, True)


async def test_a_replay_ends_the_pauses_of_its_endpoints(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    mine, empty, theirs = [await add_endpoint(tx, one) for one in (tenant, tenant, other)]
    for endpoint in (mine, empty, theirs):
        await put(tx, "endpoint", endpoint, paused_until=999)
    await add_deliveries(tx, tenant, mine)
    await add_deliveries(tx, other, theirs)
    await replays.end_rests(tx, DeliveryFilter(tenant, states=("pending",)))
    rested = [(await row_of(tx, "endpoint", one)).paused_until for one in (mine, empty, theirs)]
    assert [at is None for at in rested] == [True, False, False]


@pytest.mark.parametrize("away", ["disabled_at", "deleted_at"])
async def test_deliveries_without_a_receiver_are_neither_counted_nor_resent(
    tx: Tx, away: str
) -> None:
    tenant = await add_tenant(tx)
    here, gone = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    (mine,) = await add_deliveries(tx, tenant, here, state="delivered")
    (callback,) = await add_deliveries(tx, tenant, state="delivered")
    (left,) = await add_deliveries(tx, tenant, gone, state="delivered")
    await put(tx, "endpoint", gone, **{away: 0})
    wanted = DeliveryFilter(tenant, states=("delivered",))
    disabled = 1 if away == "disabled_at" else 0
    assert await replays.count(tx, wanted) == (2, callback, {"delivered": 2}, disabled)
    batch = await replays.resend_next(tx, wanted, after=None, until=left, limit=9)
    assert batch == Batch(2, left, finished=True)
    assert sorted(one.id for one in await claim_deliveries(tx)) == [mine, callback]


# --- Events that were never owed ----------------------------------------------------------------


async def add_events(tx: Tx, tenant: UUID, *kinds: str) -> list[UUID]:
    events = [NewEvent(uuid7(), tenant, None, kind, "{}") for kind in kinds]
    await settlement.add_events(tx, events)
    return [event.id for event in events]


async def test_missing_events_are_subscribed_and_have_no_delivery(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    early = await add_events(tx, tenant, "a", "b", "c")
    endpoint = await add_endpoint(tx, tenant, "a", "b")
    late = await add_events(tx, tenant, "b", "c")
    await add_events(tx, other, "a")
    (owed,) = await add_deliveries(tx, tenant, endpoint, state="delivered")
    await put(tx, "event", (await row_of(tx, "delivery", owed)).event_id, type="a")
    elsewhere = await add_deliveries(tx, tenant, await add_endpoint(tx, tenant))
    event = (await row_of(tx, "delivery", elsewhere[0])).event_id
    await put(tx, "event", event, type="a")
    (long_ago,) = await add_events(tx, tenant, "a")
    await put(tx, "event", long_ago, created_at=-3600)
    since = (await row_of(tx, "event", long_ago)).now - timedelta(seconds=60)
    missing = [late[0], early[1], event, early[0]]  # the ids are not in the order of the times
    for age, id_ in zip((40, 30, 20, 10), missing, strict=True):
        await put(tx, "event", id_, created_at=-age)
    assert (await replays.count_missing(tx, tenant, endpoint, since))[:2] == (4, early[0])
    assert (await replays.count_missing(tx, other, endpoint, since))[:2] == (0, None)

    async def next_ones(after: UUID | None, until: UUID, limit: int) -> list[UUID]:
        return await replays.next_missing(
            tx, tenant, endpoint, since, after=after, until=until, limit=limit
        )

    assert await next_ones(None, missing[3], 9) == missing
    assert await next_ones(None, missing[3], 2) == missing[:2]
    await replays.owe(tx, tenant, endpoint, [(uuid7(), id_) for id_ in missing[:2]])
    assert await next_ones(missing[1], missing[2], 9) == missing[2:3]
    assert await next_ones(uuid7(), missing[3], 9) == missing[2:], "a cursor that was pruned"
    assert await next_ones(missing[1], uuid7(), 9) == missing[2:], "an end that was pruned"
    await replays.owe(tx, tenant, endpoint, [(uuid7(), id_) for id_ in missing])
    assert await next_ones(None, missing[3], 9) == []
    owed_now = [one for one in await claim_deliveries(tx) if one.endpoint_id == endpoint]
    assert sorted(one.event_id for one in owed_now) == sorted(missing)
    assert all(one.resent for one in owed_now)


async def test_an_endpoint_for_all_events_misses_events_of_any_type(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_events(tx, tenant, "a", "b")
    endpoint = await add_endpoint(tx, tenant)
    since = (await row_of(tx, "endpoint", endpoint)).now
    assert (await replays.count_missing(tx, tenant, endpoint, since))[:2] == (2, ids[1])


async def test_samples_and_events_about_the_endpoint_itself_are_not_missing(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    one, other = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    since = (await row_of(tx, "endpoint", one)).now
    await add_event(tx, tenant, endpoint_id=other, is_sample=True)
    assert (await replays.count_missing(tx, tenant, one, since))[:2] == (0, None)
    told = await add_event(tx, tenant, "endpoint.disabled", endpoint_id=other)
    assert (await replays.count_missing(tx, tenant, one, since))[:2] == (1, told)
    assert (await replays.count_missing(tx, tenant, other, since))[:2] == (0, None)
    await put(tx, "endpoint", one, deleted_at=0)
    assert (await replays.count_missing(tx, tenant, one, since))[:2] == (0, None)


async def test_events_of_another_tenant_are_not_missing(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    (theirs,) = await add_events(tx, other, "a")
    endpoint = await add_endpoint(tx, tenant)
    await replays.owe(tx, tenant, endpoint, [(uuid7(), theirs)])
    assert await claim_deliveries(tx) == []


async def test_two_replays_at_once_add_one_delivery_of_an_event(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        (event,) = await add_events(tx, tenant, "a")
        endpoint = await add_endpoint(tx, tenant)

    async def owe() -> None:
        async with db.begin() as other:
            await replays.owe(other, tenant, endpoint, [(uuid7(), event)])

    async with db.begin() as tx:
        await replays.owe(tx, tenant, endpoint, [(uuid7(), event)])
        task = asyncio.create_task(owe())
        await asyncio.wait((task,), timeout=0.2)
    await task
    async with db.begin() as tx:
        assert len(await claim_deliveries(tx)) == 1
