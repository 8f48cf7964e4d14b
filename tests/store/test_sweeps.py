from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store import deliveries, outcomes, polls, submits, sweeps, tenants
from gateway.store.engine import Database, Tx
from gateway.store.outcomes import Ending
from gateway.store.submits import Doubt
from gateway.store.sweeps import Depth, Late, Owed
from tests.builders import (
    add_credential,
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

GRACE = 3.0
CAP = 1000
NOTHING = (0, 0, 0, 0)


async def late(tx: Tx) -> tuple[int, ...]:
    """How many tenants, doubtful jobs, credentials and deliveries are late."""
    return tuple(await sweeps.late(tx, GRACE, CAP))[:4]


async def add_late_job(tx: Tx, tenant: UUID) -> UUID:
    """A waiting job for which no wake-up came."""
    (job_id,) = await add_jobs(tx, tenant)
    await put(tx, "job", job_id, next_at=-GRACE)
    return job_id


async def test_one_sweeps_at_a_time(db: Database) -> None:
    async with db.begin() as one:
        assert await sweeps.lead(one) is True
        async with db.begin() as other:
            assert await sweeps.lead(other) is False
    async with db.begin() as other:
        assert await sweeps.lead(other) is True


# --- Late ---------------------------------------------------------------------------------------


async def test_nothing_is_overdue_in_an_empty_database(tx: Tx) -> None:
    assert await late(tx) == NOTHING


async def test_a_waiting_job_is_overdue_after_the_grace(tx: Tx) -> None:
    job_id = await add_late_job(tx, await add_tenant(tx))
    assert await late(tx) == (1, 0, 0, 0)
    await put(tx, "job", job_id, next_at=-GRACE + 0.001)
    assert await late(tx) == NOTHING


async def test_a_job_that_may_not_go_is_not_overdue(tx: Tx) -> None:
    suspended, resting = await add_tenant(tx), await add_tenant(tx)
    for tenant in (suspended, resting):
        await add_late_job(tx, tenant)
    await tenants.suspend(tx, suspended, suspended=True)
    await polls.failed(tx, await credential_of(tx, resting), 20.0)
    assert await late(tx) == NOTHING


async def test_a_job_whose_tenant_has_no_room_is_not_overdue(tx: Tx) -> None:
    tenant = await add_tenant(tx, max_in_flight=1)
    await add_submitted(tx, tenant)
    await add_late_job(tx, tenant)
    assert (await late(tx))[0] == 0


async def test_a_job_with_room_is_overdue_however_long_another_of_its_tenant_runs(tx: Tx) -> None:
    """Nothing else wakes the submitters until that other job ends, hours later perhaps."""
    tenant = await add_tenant(tx)
    (running,) = await add_submitted(tx, tenant)
    await polls.started(tx, [(running, None)])
    await put(tx, "job", running, submitted_at=-3600)
    await add_late_job(tx, tenant)
    assert (await late(tx))[0] == 1


async def test_the_rest_of_an_old_credential_does_not_hide_a_late_job(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    await polls.reject(tx, await credential_of(tx, tenant), "revoked", 300.0)
    await add_credential(tx, tenant, 2)
    job_id = await add_late_job(tx, tenant)
    assert (await late(tx))[0] == 1
    assert [job.id for job in await claim_jobs(tx)] == [job_id]


async def test_a_submit_without_an_end_is_overdue_after_the_grace(tx: Tx) -> None:
    tenant, token = await add_tenant(tx), uuid7()
    (job_id,) = await add_jobs(tx, tenant)
    await claim_jobs(tx, token=token)
    assert await late(tx) == NOTHING
    await submits.doubt(tx, [Doubt(job_id, token, -GRACE, 0)])
    assert await late(tx) == (0, 1, 0, 0)
    await polls.failed(tx, await credential_of(tx, tenant), 20.0)
    assert await late(tx) == NOTHING


async def test_a_credential_is_overdue_after_the_grace(tx: Tx) -> None:
    credential = await credential_of(tx, await add_tenant(tx))
    await put(tx, "credential", credential, poll_at=-GRACE)
    assert await late(tx) == (0, 0, 1, 0)
    for column in ("poll_lease_until", "paused_until"):
        await put(tx, "credential", credential, **{column: 1})
        assert await late(tx) == NOTHING
        await put(tx, "credential", credential, **{column: 0})
        assert await late(tx) == (0, 0, 1, 0)
    await put(tx, "credential", credential, poll_at=-GRACE + 0.001)
    assert await late(tx) == NOTHING


async def test_a_delivery_is_overdue_after_the_grace(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    (one,) = await add_deliveries(tx, tenant, endpoint)
    assert await late(tx) == NOTHING
    await put(tx, "delivery", one, next_at=-GRACE)
    assert await late(tx) == (0, 0, 0, 1)
    await deliveries.slow(tx, endpoint, 60.0)
    assert await late(tx) == NOTHING
    await put(tx, "endpoint", endpoint, paused_until=0)
    await put(tx, "delivery", one, state="parked")
    assert await late(tx) == NOTHING


async def test_work_under_way_tells_that_no_wake_up_is_missing(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    await add_jobs(tx, tenant)
    await add_deliveries(tx, tenant)
    assert (await sweeps.late(tx, GRACE, CAP))[4:] == (False, False)
    (job,) = await claim_jobs(tx)
    (sent,) = await deliveries.claim(tx, 1, cap=1, lease=30.0, token=uuid7())
    assert (await sweeps.late(tx, GRACE, CAP))[4:] == (True, True)
    await put(tx, "job", job.id, next_at=-1)
    await put(tx, "delivery", sent.id, next_at=-1)
    assert (await sweeps.late(tx, GRACE, CAP))[4:] == (False, False)


async def test_waiting_jobs_are_counted_by_tenant(tx: Tx) -> None:
    for _ in range(2):
        await add_jobs(tx, await add_tenant(tx), 3)
    await tx.run("UPDATE job SET next_at = now() - interval '1 minute'")
    found = await sweeps.late(tx, GRACE, CAP)
    assert found == Late(2, 0, 0, 0, submitting=False, delivering=False)


# --- Repair -------------------------------------------------------------------------------------


async def test_a_forgotten_credential_is_polled_again(tx: Tx) -> None:
    forgotten, idle, known = [await add_tenant(tx) for _ in range(3)]
    await add_submitted(tx, forgotten)
    (ended,) = await add_submitted(tx, idle)
    await outcomes.finish(tx, [Ending(ended, "failed", None, "{}", None, None)])
    await add_submitted(tx, known)
    await put(tx, "credential", await credential_of(tx, known), poll_at=20)
    assert await sweeps.remember(tx) == 1
    row = await row_of(tx, "credential", await credential_of(tx, forgotten))
    assert row.poll_at == row.now
    assert (await row_of(tx, "credential", await credential_of(tx, idle))).poll_at is None
    assert await sweeps.remember(tx) == 0


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


# --- Figures ------------------------------------------------------------------------------------


async def test_how_deep_the_queues_are(tx: Tx) -> None:
    assert await sweeps.depth(tx) == []
    tenant = await add_tenant(tx)
    old, _, ended = await add_submitted(tx, tenant, 3)
    await outcomes.finish(tx, [Ending(ended, "failed", None, "{}", None, None)])
    await put(tx, "job", old, created_at=-90)
    await add_jobs(tx, tenant)
    assert sorted(await sweeps.depth(tx)) == [
        Depth("accepted", 1, 0.0),
        Depth("submitted", 2, 90.0),
    ]


async def test_what_is_owed(tx: Tx) -> None:
    assert await sweeps.owed(tx) == Owed(0, 0, None)
    tenant = await add_tenant(tx)
    due, later = await add_deliveries(tx, tenant, count=2)
    await add_deliveries(tx, tenant, state="delivered")
    await put(tx, "delivery", due, created_at=-90)
    await put(tx, "delivery", later, next_at=20)
    assert await sweeps.owed(tx) == Owed(1, 1, 90.0)
