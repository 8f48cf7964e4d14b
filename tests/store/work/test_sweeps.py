import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import Database, Tx
from gateway.store.work import settlement, submits, sweeps
from gateway.store.work.settlement import JobEnd
from gateway.store.work.submits import Doubt
from tests.builders import (
    add_deliveries,
    add_endpoint,
    add_jobs,
    add_submitted,
    add_tenant,
    claim_jobs,
    credential_of,
    put,
    row_of,
    without_indexes,
)


async def test_only_one_process_sweeps_at_a_time(db: Database) -> None:
    async with db.begin() as one:
        assert await sweeps.lead(one) is True
        async with db.begin() as other:
            assert await sweeps.lead(other) is False
    async with db.begin() as other:
        assert await sweeps.lead(other) is True


# --- Repair -------------------------------------------------------------------------------------


async def test_a_forgotten_credential_is_polled_again(tx: Tx) -> None:
    forgotten, idle, known = [await add_tenant(tx) for _ in range(3)]
    await add_submitted(tx, forgotten)
    (ended,) = await add_submitted(tx, idle)
    await settlement.finish(tx, [JobEnd(ended, "failed", None, "{}", None, None)])
    await add_submitted(tx, known)
    await put(tx, "credential", await credential_of(tx, known), poll_at=20)
    assert await sweeps.remember(tx) == 1
    row = await row_of(tx, "credential", await credential_of(tx, forgotten))
    assert row.poll_at == row.now
    assert (await row_of(tx, "credential", await credential_of(tx, idle))).poll_at is None
    assert await sweeps.remember(tx) == 0


@pytest.mark.parametrize(
    ("column", "state", "why"),
    [
        ("disabled_at", "parked", "the endpoint is disabled"),
        ("deleted_at", "exhausted", "the endpoint was deleted"),
    ],
)
async def test_deliveries_that_nobody_will_send_are_ended(
    tx: Tx, column: str, state: str, why: str
) -> None:
    tenant = await add_tenant(tx)
    closed, other = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    due, sending = await add_deliveries(tx, tenant, closed, 2)
    await add_deliveries(tx, tenant, other)
    await add_deliveries(tx, tenant)
    await put(tx, "delivery", sending, next_at=0.001)
    await put(tx, "endpoint", closed, **{column: -1})
    await sweeps.put_away(tx)
    row = await row_of(tx, "delivery", due)
    assert (row.state, row.last_error) == (state, why)
    assert (row.lease_token, row.completed_at) == (None, row.now)
    assert (await tx.one("SELECT count(*) FROM delivery WHERE state = 'pending'"))[0] == 3


@pytest.mark.parametrize(
    ("state", "expires"),
    [
        ("accepted", True),
        ("submitted", True),
        ("running", True),
        ("succeeded", False),
        ("failed", False),
        ("cancelled", False),
        ("expired", False),
    ],
)
async def test_open_jobs_past_their_deadline_expire(tx: Tx, state: str, expires: bool) -> None:
    (job_id,) = await add_jobs(tx, await add_tenant(tx))
    await put(tx, "job", job_id, state=state, deadline_at=0.001)
    assert await sweeps.expired(tx, 9) == []
    await put(tx, "job", job_id, deadline_at=0)
    assert await sweeps.expired(tx, 9) == [job_id] * expires


async def test_a_job_does_not_expire_during_its_submit(tx: Tx) -> None:
    (job_id,) = await add_jobs(tx, await add_tenant(tx), deadline_seconds=0.0)
    token = uuid7()
    await claim_jobs(tx, token=token)
    assert await sweeps.expired(tx, 9) == []
    await put(tx, "job", job_id, next_at=0)
    assert await sweeps.expired(tx, 9) == [job_id]
    await submits.doubt(tx, [Doubt(job_id, token, 30.0, 0)])
    assert await sweeps.expired(tx, 9) == [job_id]


async def test_the_longest_past_their_deadline_expire_first(tx: Tx) -> None:
    ids = await add_jobs(tx, await add_tenant(tx), 3)
    for age, job_id in zip((1, 3, 2), ids, strict=True):
        await put(tx, "job", job_id, deadline_at=-age)
    await without_indexes(tx)
    assert await sweeps.expired(tx, 2) == [ids[1], ids[2]]
