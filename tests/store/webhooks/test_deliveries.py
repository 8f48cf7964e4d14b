"""Due deliveries are claimed fairly, once, and within the caps of their endpoints."""

from collections import Counter
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import Database, Tx
from gateway.store.webhooks import attempts, deliveries, endpoints
from gateway.store.webhooks.deliveries import SealedSecret, ToDeliver
from tests.builders import (
    add_deliveries,
    add_endpoint,
    add_tenant,
    claim_deliveries,
    claim_one,
    put,
    recorded_of,
    row_of,
    seconds_until,
    without_indexes,
)


async def test_a_claimed_delivery_has_its_stored_body_and_the_options_of_its_endpoint(
    tx: Tx,
) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant, delays=[1, 2], headers_sealed=b"s", rate_limit=9)
    job_id, token = uuid7(), uuid7()
    (to_endpoint,) = await add_deliveries(tx, tenant, endpoint)
    (to_callback,) = await add_deliveries(tx, tenant, job_id=job_id)
    await put(tx, "delivery", to_endpoint, attempts=7, spared=3, resent_at=-1)
    await put(tx, "endpoint", endpoint, failing_since=-1)
    claimed = {one.id: one for one in await claim_deliveries(tx, token=token)}
    row = await row_of(tx, "delivery", to_endpoint)
    assert claimed[to_endpoint] == ToDeliver(
        id=to_endpoint,
        tenant_id=tenant,
        event_id=row.event_id,
        job_id=None,
        endpoint_id=endpoint,
        url="https://hooks.example/x",
        attempts=8,
        spared=3,
        resent=True,
        type="test.ping",
        body="{}",
        event_at=row.created_at,
        delays=[1, 2],
        headers_sealed=b"s",
        unwell=True,
        claimed_at=(await tx.one("SELECT now()"))[0],
        lane=endpoint,
    )
    own = claimed[to_callback]
    assert (own.job_id, own.endpoint_id, own.url) == (job_id, None, "https://own.example/x")
    assert (own.delays, own.headers_sealed) == (None, None)
    assert (own.attempts, own.spared, own.resent, own.unwell) == (1, 0, False, False)
    assert (row.lease_token, row.state, row.strikes) == (token, "pending", 1)
    assert await seconds_until(tx, "delivery", to_endpoint, "next_at") == 30.0
    assert await claim_deliveries(tx) == []


async def test_a_delivery_is_claimed_again_after_its_lease(tx: Tx) -> None:
    one, _ = await claim_one(tx)
    await put(tx, "delivery", one.id, next_at=0)
    (again,) = await claim_deliveries(tx)
    assert again == one._replace(attempts=2)


# --- Room ---------------------------------------------------------------------------------------


async def test_a_lane_takes_its_free_window_or_the_given_number(tx: Tx) -> None:
    tenant, busy = await add_tenant(tx), uuid7()
    await add_deliveries(tx, tenant, count=50, lane=busy)
    for _ in range(3):
        await add_deliveries(tx, tenant, count=2)
    claimed = await claim_deliveries(tx, free=7)
    lanes = [one.lane for one in claimed]
    assert Counter(lanes)[busy] == 7
    assert len(lanes) == 13
    for free, count in ((0, 0), (-3, 0), (12, 12)):
        assert len(await claim_deliveries(tx, free=7, taken=[(busy, free, 9)])) == count
    assert len(await claim_deliveries(tx, free=7, taken=[(uuid7(), 40, 0)])) == 7


@pytest.mark.parametrize("others", [0, 3, 9])
async def test_a_claim_is_shared_among_the_lanes_with_due_deliveries(tx: Tx, others: int) -> None:
    """A lane gets all of it if no other waits. A lane whose next attempt is later gets nothing."""
    tenant, busy = await add_tenant(tx), uuid7()
    await add_deliveries(tx, tenant, count=100, lane=busy)
    (later,) = await add_deliveries(tx, tenant, lane=uuid7())
    await put(tx, "delivery", later, next_at=60)
    for _ in range(others):
        await add_deliveries(tx, tenant, count=1, lane=uuid7())
    claimed = Counter(one.lane for one in await claim_deliveries(tx, 40, free=100))
    assert claimed[busy] == 40 / (1 + others)
    assert len(claimed) == 1 + others
    assert len(await claim_deliveries(tx, 40, free=100)) == 40, "and then the rest"


async def test_full_lanes_take_no_share_of_a_claim(tx: Tx) -> None:
    tenant, full = await add_tenant(tx), [uuid7(), uuid7()]
    for lane in (*full, uuid7()):
        await add_deliveries(tx, tenant, count=20, lane=lane)
    taken = [(lane, 0, 5) for lane in full]
    assert len(await claim_deliveries(tx, 20, taken=taken)) == 20


async def test_a_part_of_a_claim_is_reserved_for_lanes_with_few_deliveries(tx: Tx) -> None:
    tenant, busy = await add_tenant(tx), uuid7()
    await add_deliveries(tx, tenant, count=100, lane=busy)
    first = await claim_deliveries(tx, 50, ahead=40, free=10, taken=[(busy, 100, 0)])
    assert len(first) == 40
    taken = [(busy, 60, 40)]
    assert await claim_deliveries(tx, 10, ahead=0, free=10, taken=taken) == []
    for _ in range(2):
        await add_deliveries(tx, tenant, count=20, lane=uuid7())
    claimed = Counter(one.lane for one in await claim_deliveries(tx, 30, ahead=6, taken=taken))
    assert claimed.pop(busy) == 2, "its share of what all may claim ahead"
    assert set(claimed.values()) == {10}, "each may have as many as it begins with"


async def test_a_failing_endpoint_keeps_two_places(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    await add_deliveries(tx, tenant, endpoint, 9)
    await put(tx, "endpoint", endpoint, failures=5)
    assert len(await claim_deliveries(tx, taken=[(endpoint, 50, 1)])) == 1
    assert len(await claim_deliveries(tx)) == 2
    assert await claim_deliveries(tx, taken=[(endpoint, 50, 2)]) == []


async def test_a_place_of_a_concurrency_is_free_after_the_answer(tx: Tx) -> None:
    tenant, token = await add_tenant(tx), uuid7()
    await add_deliveries(tx, tenant, await add_endpoint(tx, tenant, concurrency=2), 6)
    first, second = await claim_deliveries(tx, token=token)
    await attempts.record(tx, [recorded_of(first, token, "delivered")])
    assert len(await claim_deliveries(tx)) == 1
    # A delivery that waits for its next attempt takes no place either.
    await attempts.record(tx, [recorded_of(second, token, "pending", 5.0)])
    assert len(await claim_deliveries(tx)) == 1
    assert await claim_deliveries(tx) == []


@pytest.mark.parametrize("own", [1, 30])
async def test_concurrency_caps_the_deliveries_under_way(tx: Tx, own: int) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant, concurrency=own)
    plain = await add_endpoint(tx, tenant)
    for id_ in (endpoint, plain):
        await add_deliveries(tx, tenant, id_, 40)
    taken = [(endpoint, 100, 0)]
    claimed = Counter(one.endpoint_id for one in await claim_deliveries(tx, free=20, taken=taken))
    assert claimed == {endpoint: own, plain: 20}
    again = await claim_deliveries(tx, free=20, taken=[*taken, (plain, 0, 20)])
    assert again == []


async def test_a_claim_that_is_given_back_leaves_no_trace(tx: Tx) -> None:
    one, token = await claim_one(tx)
    await deliveries.give_back(tx, [(one.id, uuid7())])
    assert (await row_of(tx, "delivery", one.id)).lease_token == token
    await deliveries.give_back(tx, [(one.id, token)])
    row = await row_of(tx, "delivery", one.id)
    assert (row.state, row.attempts, row.strikes, row.lease_token) == ("pending", 0, 0, None)
    assert await seconds_until(tx, "delivery", one.id, "next_at") == 1.0


async def test_a_claim_takes_no_more_than_asked_for(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    for _ in range(3):
        await add_deliveries(tx, tenant, count=5, lane=uuid7())
    assert len(await claim_deliveries(tx, 4)) == 4
    assert len(await claim_deliveries(tx, 100)) == 11


async def test_the_longest_due_goes_first(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_deliveries(tx, tenant, count=3, lane=uuid7())
    for age, id_ in zip((1, 3, 2), ids, strict=True):
        await put(tx, "delivery", id_, next_at=-age)
    await without_indexes(tx)
    claimed = [(await claim_deliveries(tx, 1))[0].id for _ in range(3)]
    assert claimed == [ids[1], ids[2], ids[0]]


async def test_only_due_pending_deliveries_are_claimed(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (later,) = await add_deliveries(tx, tenant)
    await put(tx, "delivery", later, next_at=0.001)
    for state in ("delivered", "exhausted", "parked"):
        await add_deliveries(tx, tenant, state=state)
    assert await claim_deliveries(tx) == []


@pytest.mark.parametrize("away", ["disabled_at", "deleted_at", "paused_until"])
async def test_a_paused_endpoint_holds_back_only_its_own_deliveries(tx: Tx, away: str) -> None:
    tenant = await add_tenant(tx)
    gone, well = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    for endpoint in (gone, well):
        await add_deliveries(tx, tenant, endpoint, 2)
    await put(tx, "endpoint", gone, **{away: 60.0})
    assert {one.endpoint_id for one in await claim_deliveries(tx)} == {well}
    await put(tx, "endpoint", gone, **{away: None})
    assert {one.endpoint_id for one in await claim_deliveries(tx)} == {gone}


async def test_a_pause_ends_by_itself(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    await add_deliveries(tx, tenant, endpoint)
    await put(tx, "endpoint", endpoint, paused_until=0)
    assert len(await claim_deliveries(tx)) == 1


async def test_two_claimers_never_get_the_same_delivery(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        ids = [
            id_ for _ in range(3) for id_ in await add_deliveries(tx, tenant, count=4, lane=uuid7())
        ]
    async with db.begin() as one, db.begin() as other:
        first, second = await claim_deliveries(one, 5), await claim_deliveries(other, 100)
    assert (len(first), len(second)) == (5, 7)
    assert sorted(d.id for d in [*first, *second]) == sorted(ids)


async def test_two_claimers_keep_within_an_endpoints_own_cap(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        await add_deliveries(tx, tenant, await add_endpoint(tx, tenant, concurrency=1), 5)
    async with db.begin() as one, db.begin() as other:
        first, second = await claim_deliveries(one), await claim_deliveries(other)
    assert len(first) + len(second) == 1


# --- Secrets ------------------------------------------------------------------------------------


async def test_the_live_secrets_of_the_receivers_come_newest_first(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    endpoint, unused = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    ids = [uuid7() for _ in range(6)]
    for id_, owner, of in zip(
        ids,
        (tenant, tenant, tenant, tenant, other, tenant),
        (endpoint, endpoint, endpoint, None, None, unused),
        strict=True,
    ):
        await endpoints.add_secret(
            tx, id_, owner, of, algorithm="v1", sealed=id_.bytes, public_key=None
        )
    await put(tx, "signing_secret", ids[0], expires_at=-1)
    await put(tx, "signing_secret", ids[1], expires_at=60, algorithm="v1a")
    wanted = [(tenant, endpoint), (tenant, None), (tenant, endpoint)]
    assert await deliveries.secrets(tx, wanted) == [
        SealedSecret(id_, tenant, of, algorithm, id_.bytes)
        for id_, of, algorithm in (
            (ids[3], None, "v1"),
            (ids[2], endpoint, "v1"),
            (ids[1], endpoint, "v1a"),
        )
    ]
    assert await deliveries.secrets(tx, []) == []


# --- Suspects -----------------------------------------------------------------------------------


async def lapse(tx: Tx, delivery_id: UUID, times: int) -> None:
    await put(tx, "delivery", delivery_id, strikes=times, next_at=0)


async def test_a_delivery_claimed_twice_without_an_outcome_is_claimed_apart(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    suspect, other, waiting = await add_deliveries(tx, tenant, count=3, lane=uuid7())
    assert not await deliveries.has_suspects(tx, 2)
    await lapse(tx, suspect, 2)
    await lapse(tx, other, 1)
    await lapse(tx, waiting, 2)
    await put(tx, "delivery", waiting, next_at=60)
    assert await deliveries.has_suspects(tx, 2)
    assert [one.id for one in await claim_deliveries(tx)] == [other]
    assert [one.id for one in await claim_deliveries(tx, suspects=True)] == [suspect]
    assert (await row_of(tx, "delivery", suspect)).strikes == 3
    assert not await deliveries.has_suspects(tx, 2)


async def test_a_delivery_that_crashes_processes_is_given_up_with_a_reason(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    poison, suspect, leased = await add_deliveries(tx, tenant, count=3, lane=uuid7())
    for id_, strikes in ((poison, 5), (suspect, 4), (leased, 5)):
        await lapse(tx, id_, strikes)
    await put(tx, "delivery", leased, next_at=60)
    assert await deliveries.give_up(tx, 5) == 1
    row = await row_of(tx, "delivery", poison)
    assert (row.state, row.lease_token, row.completed_at) == ("parked", None, row.now)
    assert row.last_error.startswith("the gateway broke down 5 times while it handled this")
    assert {(await row_of(tx, "delivery", id_)).state for id_ in (suspect, leased)} == {"pending"}
