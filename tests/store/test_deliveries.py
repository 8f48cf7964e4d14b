from collections import Counter
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.core.model import Delivery, DeliveryState
from gateway.store import deliveries, endpoints, tenants
from gateway.store.deliveries import Recorded, SealedSecret, ToDeliver
from gateway.store.engine import Database, Tx
from tests.builders import (
    add_deliveries,
    add_endpoint,
    add_tenant,
    attempt_of,
    put,
    row_of,
    seconds_until,
    without_indexes,
)


async def claim(
    tx: Tx, limit: int = 100, *, cap: int = 20, lease: float = 30.0, token: UUID | None = None
) -> list[ToDeliver]:
    return await deliveries.claim(tx, limit, cap=cap, lease=lease, token=token or uuid7())


def tried(
    one: ToDeliver, token: UUID, state: str, delay: float = 0.0, **attempt: object
) -> Recorded:
    return Recorded(one.id, one.tenant_id, token, state, delay, attempt_of(one.attempts, **attempt))


async def claim_one(tx: Tx) -> tuple[ToDeliver, UUID]:
    """A delivery that is being sent, and the token of its lease."""
    tenant = await add_tenant(tx)
    await add_deliveries(tx, tenant, await add_endpoint(tx, tenant))
    token = uuid7()
    (one,) = await claim(tx, token=token)
    return one, token


# --- Claim --------------------------------------------------------------------------------------


async def test_a_claimed_delivery_comes_with_the_frozen_bytes(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    job_id, token = uuid7(), uuid7()
    (to_endpoint,) = await add_deliveries(tx, tenant, endpoint)
    (to_callback,) = await add_deliveries(tx, tenant, job_id=job_id)
    claimed = {one.id: one for one in await claim(tx, token=token)}
    row = await row_of(tx, "delivery", to_endpoint)
    assert claimed[to_endpoint] == ToDeliver(
        id=to_endpoint,
        tenant_id=tenant,
        event_id=row.event_id,
        job_id=None,
        endpoint_id=endpoint,
        url="https://hooks.example/x",
        attempts=1,
        type="test.ping",
        body="{}",
        event_at=row.created_at,
    )
    own = claimed[to_callback]
    assert (own.job_id, own.endpoint_id, own.url) == (job_id, None, "https://own.example/x")
    assert (row.attempts, row.lease_token, row.state) == (1, token, "pending")
    assert await seconds_until(tx, "delivery", to_endpoint, "next_at") == 30.0
    assert await claim(tx) == []


async def test_a_lapsed_delivery_is_sent_again(tx: Tx) -> None:
    one, _ = await claim_one(tx)
    await put(tx, "delivery", one.id, next_at=0)
    (again,) = await claim(tx)
    assert again == one._replace(attempts=2)


async def test_a_lane_takes_no_more_than_its_cap(tx: Tx) -> None:
    tenant, busy = await add_tenant(tx), uuid7()
    await add_deliveries(tx, tenant, count=50, lane=busy)
    for _ in range(3):
        await add_deliveries(tx, tenant, count=2)
    lanes = [(await row_of(tx, "delivery", one.id)).lane for one in await claim(tx, cap=7)]
    assert Counter(lanes)[busy] == 7
    assert len(lanes) == 13
    assert await claim(tx, cap=7) == []
    assert len(await claim(tx, cap=9)) == 2


async def test_room_in_a_lane_comes_back_with_the_answer(tx: Tx) -> None:
    tenant, lane, token = await add_tenant(tx), uuid7(), uuid7()
    await add_deliveries(tx, tenant, count=6, lane=lane)
    first, second = await claim(tx, cap=2, token=token)
    await deliveries.record(tx, [tried(first, token, "delivered")])
    assert len(await claim(tx, cap=2)) == 1
    # One that waits for its next attempt takes no room either.
    await deliveries.record(tx, [tried(second, token, "pending", 5.0)])
    assert len(await claim(tx, cap=2)) == 1
    assert await claim(tx, cap=2) == []


async def test_no_more_is_claimed_than_asked_for(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    for _ in range(3):
        await add_deliveries(tx, tenant, count=5, lane=uuid7())
    assert len(await claim(tx, 4)) == 4
    assert len(await claim(tx, 100)) == 11


async def test_the_longest_due_goes_first(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_deliveries(tx, tenant, count=3, lane=uuid7())
    for age, id_ in zip((1, 3, 2), ids, strict=True):
        await put(tx, "delivery", id_, next_at=-age)
    await without_indexes(tx)
    assert [(await claim(tx, 1))[0].id for _ in range(3)] == [ids[1], ids[2], ids[0]]


async def test_what_is_not_due_or_not_pending_waits(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (later,) = await add_deliveries(tx, tenant)
    await put(tx, "delivery", later, next_at=0.001)
    for state in ("delivered", "exhausted", "parked"):
        await add_deliveries(tx, tenant, state=state)
    assert await claim(tx) == []


async def test_an_endpoint_that_rests_holds_only_itself(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    resting, well = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    for endpoint in (resting, well):
        await add_deliveries(tx, tenant, endpoint, 2)
    await deliveries.slow(tx, resting, 60.0)
    assert {one.endpoint_id for one in await claim(tx)} == {well}
    await put(tx, "endpoint", resting, paused_until=0)
    assert {one.endpoint_id for one in await claim(tx)} == {resting}


async def test_a_rest_is_never_shortened(tx: Tx) -> None:
    endpoint = await add_endpoint(tx, await add_tenant(tx))
    await deliveries.slow(tx, endpoint, 60.0)
    await deliveries.slow(tx, endpoint, 5.0)
    assert await seconds_until(tx, "endpoint", endpoint, "paused_until") == 60.0
    await deliveries.slow(tx, endpoint, 90.0)
    assert await seconds_until(tx, "endpoint", endpoint, "paused_until") == 90.0


async def test_two_claimers_never_get_the_same_delivery(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        ids = [
            id_ for _ in range(3) for id_ in await add_deliveries(tx, tenant, count=4, lane=uuid7())
        ]
    async with db.begin() as one, db.begin() as other:
        first, second = await claim(one, 5), await claim(other, 100)
    assert (len(first), len(second)) == (5, 7)
    assert sorted(d.id for d in [*first, *second]) == sorted(ids)


# --- Secrets ------------------------------------------------------------------------------------


async def test_the_live_secrets_of_just_these_receivers_newest_first(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    endpoint, unused = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    ids = [uuid7() for _ in range(6)]
    for id_, owner, of in zip(
        ids,
        (tenant, tenant, tenant, tenant, other, tenant),
        (endpoint, endpoint, endpoint, None, None, unused),
        strict=True,
    ):
        await endpoints.add_secret(tx, id_, owner, of, id_.bytes)
    await put(tx, "signing_secret", ids[0], expires_at=-1)
    await put(tx, "signing_secret", ids[1], expires_at=60)
    await add_deliveries(tx, tenant, endpoint, 2)
    await add_deliveries(tx, tenant)
    found = await deliveries.secrets(tx, await claim(tx))
    assert found == [
        SealedSecret(id_, tenant, of, id_.bytes)
        for id_, of in ((ids[3], None), (ids[2], endpoint), (ids[1], endpoint))
    ]
    assert await deliveries.secrets(tx, []) == []


# --- Record -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["delivered", "exhausted", "parked"])
async def test_an_attempt_that_was_the_last(tx: Tx, state: str) -> None:
    one, token = await claim_one(tx)
    attempt = attempt_of(status=204, error_class=None, detail=None)
    await deliveries.record(tx, [Recorded(one.id, one.tenant_id, token, state, 0.0, attempt)])
    row = await row_of(tx, "delivery", one.id)
    assert (row.state, row.lease_token, row.completed_at) == (state, None, row.now)
    assert (row.last_status, row.last_error) == (204, None)
    assert await deliveries.attempts(tx, one.tenant_id, [one.id]) == [(one.id, attempt)]
    assert await claim(tx) == []


async def test_an_attempt_that_another_follows(tx: Tx) -> None:
    one, token = await claim_one(tx)
    await deliveries.record(tx, [tried(one, token, "pending", 300.0)])
    row = await row_of(tx, "delivery", one.id)
    assert (row.state, row.lease_token, row.completed_at) == ("pending", None, None)
    assert (row.last_status, row.last_error) == (500, "http_5xx")
    assert await seconds_until(tx, "delivery", one.id, "next_at") == 300.0


async def test_an_attempt_without_an_answer(tx: Tx) -> None:
    one, token = await claim_one(tx)
    silent = {
        "status": None,
        "response_headers": None,
        "response_body": None,
        "error_class": "timeout",
        "detail": "no answer within 15 s",
    }
    await deliveries.record(tx, [tried(one, token, "pending", 5.0, **silent)])
    row = await row_of(tx, "delivery", one.id)
    assert (row.last_status, row.last_error) == (None, "no answer within 15 s")
    assert await deliveries.attempts(tx, one.tenant_id, [one.id]) == [
        (one.id, attempt_of(**silent))
    ]


async def test_several_attempts_are_kept_in_order(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    ids = await add_deliveries(tx, tenant, count=2, lane=uuid7())
    for _ in range(2):
        token = uuid7()
        claimed = await claim(tx, token=token)
        await deliveries.record(tx, [tried(one, token, "pending") for one in reversed(claimed)])
    kept = await deliveries.attempts(tx, tenant, ids)
    assert [(id_, attempt.number) for id_, attempt in kept] == [
        (id_, number) for id_ in ids for number in (1, 2)
    ]
    assert await deliveries.attempts(tx, other, ids) == []
    assert [id_ for id_, _ in await deliveries.attempts(tx, tenant, ids[1:])] == [ids[1]] * 2


async def test_who_lost_the_lease_moves_nothing_but_the_attempt_is_kept(tx: Tx) -> None:
    one, stale = await claim_one(tx)
    await put(tx, "delivery", one.id, next_at=0)
    (again,) = await claim(tx)
    before = await row_of(tx, "delivery", one.id)
    await deliveries.record(tx, [tried(one, stale, "delivered")])
    assert await row_of(tx, "delivery", one.id) == before
    kept = await deliveries.attempts(tx, one.tenant_id, [one.id])
    assert [attempt.number for _, attempt in kept] == [one.attempts]
    assert again.attempts == 2


async def test_what_was_parked_meanwhile_stays_parked(tx: Tx) -> None:
    one, token = await claim_one(tx)
    await put(tx, "delivery", one.id, state="parked")
    await deliveries.record(tx, [tried(one, token, "delivered")])
    assert (await row_of(tx, "delivery", one.id)).state == "parked"


async def test_an_attempt_recorded_twice_is_kept_once(tx: Tx) -> None:
    one, token = await claim_one(tx)
    for state in ("pending", "delivered"):
        await deliveries.record(tx, [tried(one, token, state)])
    assert (await row_of(tx, "delivery", one.id)).state == "pending"
    assert len(await deliveries.attempts(tx, one.tenant_id, [one.id])) == 1


async def test_an_attempt_that_ends_after_its_tenant_was_erased_leaves_nothing(tx: Tx) -> None:
    one, token = await claim_one(tx)
    await tenants.erase(tx, one.tenant_id)
    await deliveries.record(tx, [tried(one, token, "delivered")])
    assert await deliveries.attempts(tx, one.tenant_id, [one.id]) == []


# --- Disable ------------------------------------------------------------------------------------


async def test_a_disabled_endpoint_has_its_deliveries_parked(tx: Tx) -> None:
    one, _ = await claim_one(tx)
    endpoint = one.endpoint_id
    assert endpoint is not None
    (waiting,) = await add_deliveries(tx, one.tenant_id, endpoint)
    (done,) = await add_deliveries(tx, one.tenant_id, endpoint, state="delivered")
    (foreign,) = await add_deliveries(tx, one.tenant_id, await add_endpoint(tx, one.tenant_id))
    assert await deliveries.disable(tx, endpoint, "gone") == one.tenant_id
    row = await row_of(tx, "endpoint", endpoint)
    assert (row.disabled_at, row.disabled_reason, row.updated_at) == (row.now, "gone", row.now)
    for parked in (one.id, waiting):
        row = await row_of(tx, "delivery", parked)
        assert (row.state, row.last_error, row.lease_token) == ("parked", "gone", None)
        assert row.completed_at == row.now
    assert (await row_of(tx, "delivery", done)).state == "delivered"
    assert [d.id for d in await claim(tx)] == [foreign]


async def test_who_disables_second_hears_so_and_parks_the_rest(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    await deliveries.disable(tx, endpoint, "first")
    (late,) = await add_deliveries(tx, tenant, endpoint)
    assert await deliveries.disable(tx, endpoint, "second") is None
    assert (await row_of(tx, "endpoint", endpoint)).disabled_reason == "first"
    assert (await row_of(tx, "delivery", late)).state == "parked"


# --- Read ---------------------------------------------------------------------------------------


async def test_a_delivery_is_found_by_its_tenant_only(tx: Tx) -> None:
    tenant, other, job_id = await add_tenant(tx), await add_tenant(tx), uuid7()
    endpoint = await add_endpoint(tx, tenant)
    (id_,) = await add_deliveries(tx, tenant, endpoint, job_id=job_id)
    row = await row_of(tx, "delivery", id_)
    expected = Delivery(
        id=id_,
        tenant_id=tenant,
        event_id=row.event_id,
        event_type="test.ping",
        job_id=job_id,
        endpoint_id=endpoint,
        url="https://hooks.example/x",
        state=DeliveryState.PENDING,
        attempts=0,
        next_at=row.now,
        last_status=None,
        last_error=None,
        created_at=row.now,
        completed_at=None,
    )
    assert await deliveries.find(tx, tenant, id_) == expected
    assert await deliveries.find(tx, other, id_) is None
    assert await deliveries.of_job(tx, tenant, job_id) == [expected]
    assert await deliveries.of_job(tx, other, job_id) == []


async def test_the_deliveries_of_a_job_are_in_order(tx: Tx) -> None:
    tenant, job_id = await add_tenant(tx), uuid7()
    ids = await add_deliveries(tx, tenant, count=3, job_id=job_id)
    await add_deliveries(tx, tenant, job_id=uuid7())
    assert [d.id for d in await deliveries.of_job(tx, tenant, job_id)] == ids
    assert {d.url for d in await deliveries.of_job(tx, tenant, job_id)} == {"https://own.example/x"}
