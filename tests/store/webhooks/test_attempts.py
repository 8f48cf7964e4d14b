"""Outcomes of attempts: what they change of the delivery and of the health of its endpoint."""

from dataclasses import replace

import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import Tx
from gateway.store.delivery_search import log
from gateway.store.tenancy import tenants
from gateway.store.webhooks import attempts, endpoints
from gateway.store.work import sweeps
from tests.builders import (
    add_deliveries,
    add_endpoint,
    add_tenant,
    attempt_of,
    claim_deliveries,
    claim_one,
    put,
    recorded_of,
    row_of,
    seconds_until,
)


@pytest.mark.parametrize("state", ["delivered", "exhausted", "parked"])
async def test_the_last_attempt_ends_the_delivery(tx: Tx, state: str) -> None:
    one, token = await claim_one(tx)
    done = recorded_of(one, token, state, status=204, error_class=None, detail=None)
    await attempts.record(tx, [done])
    row = await row_of(tx, "delivery", one.id)
    assert (row.state, row.lease_token, row.completed_at) == (state, None, row.now)
    assert (row.last_status, row.last_class, row.last_error) == (204, None, None)
    assert (row.strikes, row.spared) == (0, 0)
    assert await log.attempts(tx, one.tenant_id, [one.id]) == [(one.id, done.attempt)]
    assert await claim_deliveries(tx) == []


async def test_an_attempt_that_is_not_the_last_sets_the_next_time(tx: Tx) -> None:
    one, token = await claim_one(tx)
    await attempts.record(tx, [recorded_of(one, token, "pending", 300.0)])
    row = await row_of(tx, "delivery", one.id)
    assert (row.state, row.lease_token, row.completed_at) == ("pending", None, None)
    assert (row.last_status, row.last_class, row.last_error) == (500, "http_5xx", "http_5xx")
    assert await seconds_until(tx, "delivery", one.id, "next_at") == 300.0
    ((_, kept),) = await log.attempts(tx, one.tenant_id, [one.id])
    assert kept.next_at == row.next_at


async def test_an_attempt_without_an_answer(tx: Tx) -> None:
    one, token = await claim_one(tx)
    silent = {
        "status": None,
        "response_headers": None,
        "response_body": None,
        "error_class": "timeout",
        "detail": "no answer within 15 s",
        "timings": '{"dns":0.000100}',
    }
    await attempts.record(tx, [recorded_of(one, token, "exhausted", **silent)])
    row = await row_of(tx, "delivery", one.id)
    assert (row.last_status, row.last_class) == (None, "timeout")
    assert row.last_error == "no answer within 15 s"
    assert await log.attempts(tx, one.tenant_id, [one.id]) == [(one.id, attempt_of(**silent))]


async def test_several_attempts_are_kept_in_order(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    ids = await add_deliveries(tx, tenant, count=2, lane=uuid7())
    for _ in range(2):
        token = uuid7()
        claimed = await claim_deliveries(tx, token=token)
        tried = [recorded_of(one, token, "pending") for one in reversed(claimed)]
        await attempts.record(tx, tried)
    kept = await log.attempts(tx, tenant, ids)
    assert [(id_, attempt.number) for id_, attempt in kept] == [
        (id_, number) for id_ in ids for number in (1, 2)
    ]
    assert await log.attempts(tx, other, ids) == []
    some = await log.attempts(tx, tenant, ids, most=20)  # an attempt has about 15 bytes
    assert [attempt.truncated for _, attempt in some] == [True, True, True, False]
    assert some[3] == kept[3]
    assert some[0][1] == replace(
        kept[0][1],
        truncated=True,
        request_headers="{}",
        response_headers=None,
        response_body=None,
    )
    assert [id_ for id_, _ in await log.attempts(tx, tenant, ids[1:])] == [ids[1]] * 2


async def test_an_attempt_after_a_lost_lease_is_kept_and_changes_no_delivery(tx: Tx) -> None:
    one, stale = await claim_one(tx)
    await put(tx, "delivery", one.id, next_at=0)
    (again,) = await claim_deliveries(tx)
    before = await row_of(tx, "delivery", one.id)
    await attempts.record(tx, [recorded_of(one, stale, "delivered")])
    assert await row_of(tx, "delivery", one.id) == before
    kept = await log.attempts(tx, one.tenant_id, [one.id])
    assert [attempt.number for _, attempt in kept] == [one.attempts]
    assert again.attempts == 2


async def test_a_delivery_parked_during_its_attempt_stays_parked(tx: Tx) -> None:
    one, token = await claim_one(tx)
    await put(tx, "delivery", one.id, state="parked")
    await attempts.record(tx, [recorded_of(one, token, "delivered")])
    assert (await row_of(tx, "delivery", one.id)).state == "parked"


async def test_an_attempt_recorded_twice_is_kept_once(tx: Tx) -> None:
    one, token = await claim_one(tx)
    for state in ("pending", "delivered"):
        await attempts.record(tx, [recorded_of(one, token, state)])
    assert (await row_of(tx, "delivery", one.id)).state == "pending"
    assert len(await log.attempts(tx, one.tenant_id, [one.id])) == 1


async def test_an_attempt_that_ends_after_its_tenant_was_erased_leaves_nothing(tx: Tx) -> None:
    one, token = await claim_one(tx)
    await tenants.erase(tx, one.tenant_id)
    await attempts.record(tx, [recorded_of(one, token, "delivered")])
    assert await log.attempts(tx, one.tenant_id, [one.id]) == []


# --- What was not tried -------------------------------------------------------------------------


async def test_a_postponed_delivery_has_no_attempt(tx: Tx) -> None:
    one, token = await claim_one(tx)
    await attempts.postpone(tx, [one.id], uuid7(), 60.0, "not mine")
    assert (await row_of(tx, "delivery", one.id)).last_error is None
    await attempts.postpone(tx, [one.id], token, 60.0, "no key")
    row = await row_of(tx, "delivery", one.id)
    assert (row.attempts, row.strikes, row.lease_token, row.last_error) == (0, 0, None, "no key")
    assert await seconds_until(tx, "delivery", one.id, "next_at") == 60.0


async def test_a_claim_whose_handling_failed_stays_counted(tx: Tx) -> None:
    one, token = await claim_one(tx)
    await attempts.broken(tx, one.id, uuid7(), 5.0, "not mine")
    assert (await row_of(tx, "delivery", one.id)).lease_token == token
    await attempts.broken(tx, one.id, token, 5.0, "why")
    row = await row_of(tx, "delivery", one.id)
    assert (row.attempts, row.strikes, row.lease_token, row.last_error) == (1, 1, None, "why")
    assert await seconds_until(tx, "delivery", one.id, "next_at") == 5.0


async def test_a_new_delivery_can_be_leased_by_its_sender_at_once(tx: Tx) -> None:
    (id_,) = await add_deliveries(tx, await add_tenant(tx))
    token = uuid7()
    await attempts.lease(tx, id_, token, 26.0)
    row = await row_of(tx, "delivery", id_)
    assert (row.attempts, row.lease_token) == (1, token)
    assert await claim_deliveries(tx) == []
    assert await seconds_until(tx, "delivery", id_, "next_at") == 26.0


# --- The health of an endpoint ------------------------------------------------------------------


async def test_a_pause_is_never_shortened(tx: Tx) -> None:
    endpoint = await add_endpoint(tx, await add_tenant(tx))
    for asked, rest in ((60.0, 60.0), (5.0, 60.0), (90.0, 90.0)):
        await attempts.slow(tx, endpoint, asked)
        assert await seconds_until(tx, "endpoint", endpoint, "paused_until") == rest


async def test_failures_are_counted_until_an_attempt_succeeds(tx: Tx) -> None:
    endpoint = await add_endpoint(tx, await add_tenant(tx))
    assert await attempts.failing(tx, endpoint, 2) == (0.0, 2)
    await put(tx, "endpoint", endpoint, failing_since=-100)
    assert await attempts.failing(tx, endpoint, 3) == (100.0, 5)
    assert await endpoints.failing(tx, []) == [(endpoint, 100.0, 5, False)]
    await attempts.well(tx, endpoint)
    row = await row_of(tx, "endpoint", endpoint)
    assert (row.failing_since, row.failures) == (None, 0)
    assert await endpoints.failing(tx, []) == []


@pytest.mark.parametrize("away", ["disabled_at", "deleted_at"])
async def test_only_endpoints_in_use_are_listed_as_failing(tx: Tx, away: str) -> None:
    endpoint = await add_endpoint(tx, await add_tenant(tx))
    await attempts.failing(tx, endpoint, 1)
    await put(tx, "endpoint", endpoint, **{away: 0})
    assert await endpoints.failing(tx, []) == []


async def test_endpoints_disabled_for_a_reason_are_listed_until_deleted_or_enabled(tx: Tx) -> None:
    endpoint, other, _ = [await add_endpoint(tx, await add_tenant(tx)) for _ in range(3)]
    await attempts.disable(tx, endpoint, "gone")
    await attempts.disable(tx, other, "by hand")
    assert await endpoints.failing(tx, ["failed", "gone"]) == [(endpoint, 0.0, 0, True)]
    await put(tx, "endpoint", endpoint, deleted_at=0)
    assert await endpoints.failing(tx, ["gone"]) == []
    await put(tx, "endpoint", endpoint, deleted_at=None, disabled_at=None)
    assert await endpoints.failing(tx, ["gone"]) == []


async def test_a_disabled_endpoint_is_not_judged_again(tx: Tx) -> None:
    endpoint = await add_endpoint(tx, await add_tenant(tx))
    await attempts.disable(tx, endpoint, "gone")
    assert await attempts.failing(tx, endpoint, 1) is None


async def test_a_disabled_endpoint_has_its_deliveries_parked(tx: Tx) -> None:
    one, _ = await claim_one(tx)
    endpoint = one.endpoint_id
    assert endpoint is not None
    (waiting,) = await add_deliveries(tx, one.tenant_id, endpoint)
    (lapsed,) = await add_deliveries(tx, one.tenant_id, endpoint)
    await put(tx, "delivery", lapsed, lease_token=uuid7(), next_at=0)
    (done,) = await add_deliveries(tx, one.tenant_id, endpoint, state="delivered")
    (foreign,) = await add_deliveries(tx, one.tenant_id, await add_endpoint(tx, one.tenant_id))
    assert await attempts.disable(tx, endpoint, "gone") == one.tenant_id
    row = await row_of(tx, "endpoint", endpoint)
    assert (row.disabled_at, row.disabled_reason, row.updated_at) == (row.now, "gone", row.now)
    for parked in (waiting, lapsed):
        row = await row_of(tx, "delivery", parked)
        assert (row.state, row.last_error, row.lease_token) == ("parked", "gone", None)
        assert row.completed_at == row.now
    assert (await row_of(tx, "delivery", one.id)).state == "pending", "its sender records it"
    assert (await row_of(tx, "delivery", done)).state == "delivered"
    assert [d.id for d in await claim_deliveries(tx)] == [foreign]


async def test_disabling_again_only_parks_new_deliveries(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    await attempts.disable(tx, endpoint, "first")
    (late,) = await add_deliveries(tx, tenant, endpoint)
    assert await attempts.disable(tx, endpoint, "second") is None
    assert (await row_of(tx, "endpoint", endpoint)).disabled_reason == "first"
    assert (await row_of(tx, "delivery", late)).state == "parked"


async def test_the_sweep_parks_what_a_disabling_left(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    await add_deliveries(tx, tenant, endpoint, 2001)
    counts: list[int] = []
    await attempts.disable(tx, endpoint, "gone")
    for _ in range(3):
        counts += await tx.one("SELECT count(*) FROM delivery WHERE state = 'parked'")
        await sweeps.put_away(tx)
    assert counts == [1000, 2000, 2001]
