"""Suspects: rows that were claimed several times without a recorded outcome."""

from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import Tx
from gateway.store.webhooks import attempts, deliveries
from gateway.store.webhooks.deliveries import ToDeliver
from gateway.store.work import job_strikes, submits
from gateway.store.work.submits import Back, Doubt
from tests.builders import (
    add_deliveries,
    add_endpoint,
    add_jobs,
    add_submitted,
    add_tenant,
    claim_jobs,
    put,
    row_of,
    seconds_until,
)


async def send(tx: Tx, *, token: UUID | None = None, suspects: bool = False) -> list[ToDeliver]:
    return await deliveries.claim(
        tx, 9, ahead=9, free=20, lease=30.0, suspicious=2, token=token or uuid7(), suspects=suspects
    )


# --- Jobs ---------------------------------------------------------------------------------------


async def test_each_claim_of_a_job_is_a_strike_until_its_outcome_is_known(tx: Tx) -> None:
    (job_id,) = await add_jobs(tx, await add_tenant(tx))
    for strikes in (1, 2):
        token = uuid7()
        (job,) = await claim_jobs(tx, token=token, suspicious=9)
        assert job.strikes == (await row_of(tx, "job", job_id)).strikes == strikes
        await submits.back(tx, [Back(job_id, token, 0.0, True, job.strikes)])
    token = uuid7()
    (job,) = await claim_jobs(tx, token=token, suspicious=9)
    await submits.submitted(tx, [(job_id, token, "up")])
    assert (job.strikes, (await row_of(tx, "job", job_id)).strikes) == (3, 0)


async def test_a_doubtful_submit_keeps_or_clears_the_strikes(tx: Tx) -> None:
    one, other = await add_jobs(tx, await add_tenant(tx), 2)
    await claim_jobs(tx, token=(token := uuid7()))
    await submits.doubt(tx, [Doubt(one, token, 0.0, 0, 1), Doubt(other, token, 0.0, 0)])
    found = await submits.claim_doubtful(tx, 9, lease=30.0, breaker=5, token=uuid7())
    assert {job.id: job.strikes for job in found} == {one: 1, other: 0}


async def test_suspect_jobs_are_claimed_apart(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    good, bad, worse = await add_jobs(tx, tenant, 3)
    assert not await submits.has_suspects(tx, 2)
    await put(tx, "job", bad, strikes=2)
    await put(tx, "job", worse, strikes=7)
    assert await submits.has_suspects(tx, 2)
    assert [job.id for job in await claim_jobs(tx)] == [good]
    assert [job.id for job in await claim_jobs(tx, 1, suspects=True)] == [bad]
    assert [job.id for job in await claim_jobs(tx, suspects=True)] == [worse]
    assert not await submits.has_suspects(tx, 2)


async def test_only_due_waiting_jobs_are_suspects(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (upstream,) = await add_submitted(tx, tenant)
    (later,) = await add_jobs(tx, tenant)
    await put(tx, "job", upstream, strikes=3)
    await put(tx, "job", later, strikes=3, next_at=0.001)
    assert not await submits.has_suspects(tx, 2)
    await put(tx, "job", later, next_at=0)
    assert await submits.has_suspects(tx, 2)
    assert not await submits.has_suspects(tx, 4)


async def test_strikes_of_jobs_at_the_upstream_are_added_and_cleared(tx: Tx) -> None:
    (job_id,) = await add_submitted(tx, await add_tenant(tx))
    assert [await job_strikes.strike(tx, [job_id]) for _ in range(2)] == [{job_id: 1}, {job_id: 2}]
    assert await job_strikes.struck(tx, [job_id, uuid7()]) == {job_id}
    assert (await row_of(tx, "job", job_id)).strikes == 2
    assert await job_strikes.strike(tx, [uuid7()]) == {}
    await job_strikes.spare(tx, [job_id])
    assert await job_strikes.struck(tx, [job_id]) == frozenset()


# --- Deliveries ---------------------------------------------------------------------------------


async def test_each_claim_of_a_delivery_is_a_strike(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (id_,) = await add_deliveries(tx, tenant)
    for strikes in (1, 2):
        await send(tx)
        assert (await row_of(tx, "delivery", id_)).strikes == strikes
        await put(tx, "delivery", id_, next_at=0)


async def test_a_postponed_delivery_has_no_strike(tx: Tx) -> None:
    (id_,) = await add_deliveries(tx, await add_tenant(tx))
    await send(tx, token=(token := uuid7()))
    await attempts.postpone(tx, [id_], token, 60.0, "no key")
    assert (await row_of(tx, "delivery", id_)).strikes == 0


async def test_a_delivery_whose_handling_failed_keeps_its_strike(tx: Tx) -> None:
    (id_,) = await add_deliveries(tx, await add_tenant(tx))
    await send(tx, token=(token := uuid7()))
    await attempts.broken(tx, id_, uuid7(), 5.0, "somebody else's")
    assert (await row_of(tx, "delivery", id_)).lease_token == token
    await attempts.broken(tx, id_, token, 5.0, "why")
    row = await row_of(tx, "delivery", id_)
    assert (row.state, row.lease_token, row.last_error) == ("pending", None, "why")
    assert (row.strikes, row.attempts) == (1, 1)
    assert await seconds_until(tx, "delivery", id_, "next_at") == 5.0


async def test_suspect_deliveries_are_claimed_apart(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    good, bad = await add_deliveries(tx, tenant, endpoint, 2)
    assert not await deliveries.has_suspects(tx, 2)
    await put(tx, "delivery", bad, strikes=2)
    assert await deliveries.has_suspects(tx, 2)
    assert [one.id for one in await send(tx)] == [good]
    assert [one.id for one in await send(tx, suspects=True)] == [bad]
    assert not await deliveries.has_suspects(tx, 2)


async def test_deliveries_are_given_up_after_so_many_strikes(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    fine, late, lost = await add_deliveries(tx, tenant, count=3)
    await put(tx, "delivery", fine, strikes=4)
    await put(tx, "delivery", late, strikes=5, next_at=0.001)
    await put(tx, "delivery", lost, strikes=5)
    assert await deliveries.give_up(tx, 5) == 1
    row = await row_of(tx, "delivery", lost)
    assert (row.state, row.lease_token, row.completed_at) == ("parked", None, row.now)
    assert "broke down 5 times" in row.last_error
    for id_ in (fine, late):
        assert (await row_of(tx, "delivery", id_)).state == "pending"


@pytest.mark.parametrize("column", ["disabled_at", "deleted_at"])
async def test_deliveries_of_a_disabled_or_deleted_endpoint_are_not_claimed(
    tx: Tx, column: str
) -> None:
    tenant = await add_tenant(tx)
    closed, other = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    for endpoint in (closed, other):
        await add_deliveries(tx, tenant, endpoint)
    await put(tx, "endpoint", closed, **{column: -1})
    assert {one.endpoint_id for one in await send(tx)} == {other}
    await put(tx, "delivery", (await tx.one("SELECT id FROM delivery LIMIT 1")).id, strikes=3)
    assert {one.endpoint_id for one in await send(tx, suspects=True)} <= {other}
