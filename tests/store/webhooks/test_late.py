"""Late rows: due for longer than a wake-up may take, and not claimed."""

from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import Tx
from gateway.store.tenancy import tenants
from gateway.store.webhooks import attempts, deliveries
from gateway.store.work import circuit_breaker, polls, submits, sweeps
from gateway.store.work.submits import Doubt
from gateway.store.work.sweeps import Late
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
)

GRACE = 3.0
CAP = 1000
SOON = 8.0
NOTHING = (0, 0, 0, 0)


async def late(tx: Tx) -> tuple[int, ...]:
    """The number of late tenants, jobs in doubt, credentials and deliveries."""
    found = await sweeps.late(tx, GRACE, CAP, SOON)
    return found.accepted, found.doubtful, found.credentials, found.deliveries


async def add_late_job(tx: Tx, tenant: UUID) -> UUID:
    """A waiting job for which no wake-up came."""
    (job_id,) = await add_jobs(tx, tenant)
    await put(tx, "job", job_id, next_at=-GRACE)
    return job_id


async def test_nothing_is_overdue_in_an_empty_database(tx: Tx) -> None:
    assert await late(tx) == NOTHING


async def test_a_waiting_job_is_overdue_after_the_grace(tx: Tx) -> None:
    job_id = await add_late_job(tx, await add_tenant(tx))
    assert await late(tx) == (1, 0, 0, 0)
    await put(tx, "job", job_id, next_at=-GRACE + 0.001)
    assert await late(tx) == NOTHING


async def test_a_job_that_is_held_back_is_not_overdue(tx: Tx) -> None:
    suspended, resting = await add_tenant(tx), await add_tenant(tx)
    for tenant in (suspended, resting):
        await add_late_job(tx, tenant)
    await tenants.suspend(tx, suspended, suspended=True)
    await circuit_breaker.failed(tx, await credential_of(tx, resting), 20.0, probe=False, room=100)
    assert await late(tx) == NOTHING


async def test_a_job_whose_tenant_has_no_room_is_not_overdue(tx: Tx) -> None:
    tenant = await add_tenant(tx, max_in_flight=1)
    await add_submitted(tx, tenant)
    await add_late_job(tx, tenant)
    assert (await late(tx))[0] == 0


async def test_a_job_with_room_is_overdue_while_another_of_its_tenant_runs(tx: Tx) -> None:
    """Nothing else wakes the submitters until the other job ends, perhaps hours later."""
    tenant = await add_tenant(tx)
    (running,) = await add_submitted(tx, tenant)
    await polls.started(tx, [(running, None, None)])
    await put(tx, "job", running, submitted_at=-3600)
    await add_late_job(tx, tenant)
    assert (await late(tx))[0] == 1


async def test_the_pause_of_an_old_credential_does_not_hide_a_late_job(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    await circuit_breaker.reject(tx, await credential_of(tx, tenant), "revoked", 300.0)
    await add_credential(tx, tenant, 2)
    job_id = await add_late_job(tx, tenant)
    assert (await late(tx))[0] == 1
    assert [job.id for job in await claim_jobs(tx)] == [job_id]


async def test_an_unfinished_submit_is_overdue_after_the_grace(tx: Tx) -> None:
    tenant, token = await add_tenant(tx), uuid7()
    (job_id,) = await add_jobs(tx, tenant)
    await claim_jobs(tx, token=token)
    assert await late(tx) == NOTHING
    await submits.doubt(tx, [Doubt(job_id, token, -GRACE, 0)])
    assert await late(tx) == (0, 1, 0, 0)
    await circuit_breaker.failed(tx, await credential_of(tx, tenant), 20.0, probe=False, room=100)
    assert await late(tx) == NOTHING


async def test_a_credential_is_overdue_after_the_grace(tx: Tx) -> None:
    credential = await credential_of(tx, await add_tenant(tx))
    await put(tx, "credential", credential, poll_at=-GRACE)
    assert await late(tx) == (0, 0, 1, 0)
    for column in ("poll_lease_until", "paused_until"):
        await put(tx, "credential", credential, **{column: 1})
        assert await late(tx) == NOTHING
        await put(tx, "credential", credential, **{column: -GRACE + 0.001})
        assert await late(tx) == NOTHING, "it is due since then"
        await put(tx, "credential", credential, **{column: -GRACE})
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
    await attempts.slow(tx, endpoint, 60.0)
    assert await late(tx) == NOTHING
    await put(tx, "endpoint", endpoint, paused_until=0)
    await put(tx, "delivery", one, state="parked")
    assert await late(tx) == NOTHING


@pytest.mark.parametrize("column", ["disabled_at", "deleted_at"])
async def test_deliveries_that_an_endpoint_is_not_sent_are_not_late(tx: Tx, column: str) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    (one,) = await add_deliveries(tx, tenant, endpoint)
    await put(tx, "delivery", one, next_at=-GRACE)
    await put(tx, "endpoint", endpoint, **{column: 0})
    assert await late(tx) == NOTHING


async def test_running_leases_are_reported_beside_late_rows(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    await add_jobs(tx, tenant)
    await add_deliveries(tx, tenant)
    assert (await sweeps.late(tx, GRACE, CAP, SOON))[4:6] == (False, False)
    (job,) = await claim_jobs(tx)
    (sent,) = await deliveries.claim(
        tx, 1, ahead=1, free=1, lease=30.0, suspicious=2, token=uuid7()
    )
    assert (await sweeps.late(tx, GRACE, CAP, SOON))[4:6] == (True, True)
    await put(tx, "job", job.id, next_at=-1)
    await put(tx, "delivery", sent.id, next_at=-1)
    assert (await sweeps.late(tx, GRACE, CAP, SOON))[4:6] == (False, False)


async def test_late_jobs_are_counted_by_tenant(tx: Tx) -> None:
    for _ in range(2):
        await add_jobs(tx, await add_tenant(tx), 3)
    await tx.run("UPDATE job SET next_at = now() - interval '1 minute'")
    found = await sweeps.late(tx, GRACE, CAP, SOON)
    assert found == Late(2, 0, 0, 0, False, False, [], [])


# --- Soon ---------------------------------------------------------------------------------------


async def soon(tx: Tx) -> tuple[list[int], list[int]]:
    """The seconds until the next submits and deliveries are due."""
    found = await sweeps.late(tx, GRACE, CAP, SOON)
    return sorted(found.submits_soon), sorted(found.deliveries_soon)


async def test_rows_that_come_due_before_the_next_sweep_are_found(tx: Tx) -> None:
    for seconds in (1.5, 8.0, 8.5, 600.0):
        tenant = await add_tenant(tx)
        for job_id in await add_jobs(tx, tenant):
            await put(tx, "job", job_id, next_at=seconds)
        (one,) = await add_deliveries(tx, tenant)
        await put(tx, "delivery", one, next_at=seconds)
    assert await soon(tx) == ([2, 8], [2, 8])


async def test_paused_work_comes_due_at_the_end_of_its_pause(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    await add_late_job(tx, tenant)
    (one,) = await add_deliveries(tx, tenant, endpoint)
    await put(tx, "delivery", one, next_at=-600)
    await put(tx, "credential", await credential_of(tx, tenant), paused_until=4)
    await put(tx, "endpoint", endpoint, paused_until=5)
    assert await soon(tx) == ([4], [5])
    assert await late(tx) == NOTHING
    await put(tx, "credential", await credential_of(tx, tenant), paused_until=-GRACE + 1)
    await put(tx, "endpoint", endpoint, paused_until=-GRACE + 1)
    assert await late(tx) == NOTHING, "the wake-up for the end of its rest may take a moment"
    assert await soon(tx) == ([], [0])
    await tenants.suspend(tx, tenant, suspended=True)
    await put(tx, "credential", await credential_of(tx, tenant), paused_until=4)
    await put(tx, "endpoint", endpoint, disabled_at=0)
    assert await soon(tx) == ([], [])


async def test_a_submit_in_doubt_comes_due_at_its_lookup(tx: Tx) -> None:
    tenant, token = await add_tenant(tx), uuid7()
    (job_id,) = await add_jobs(tx, tenant)
    await claim_jobs(tx, token=token, lease=5.0)
    assert await soon(tx) == ([], []), "somebody is at it"
    await submits.doubt(tx, [Doubt(job_id, token, 3.0, 0)])
    assert await soon(tx) == ([3], [])


async def test_late_deliveries_are_counted_by_their_receivers(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoint, lane = await add_endpoint(tx, tenant), uuid7()
    ids = await add_deliveries(tx, tenant, endpoint, 3)
    ids += await add_deliveries(tx, tenant, count=2, lane=lane)
    ids += await add_deliveries(tx, tenant, lane=uuid7())
    for id_ in ids:
        await put(tx, "delivery", id_, next_at=-GRACE)
    await add_deliveries(tx, tenant, await add_endpoint(tx, tenant))
    assert await late(tx) == (0, 0, 0, 3)


async def test_deliveries_that_wait_for_a_rate_are_not_late(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    for caps in ({"rate_limit": 1}, {"concurrency": 1}):
        (one,) = await add_deliveries(tx, tenant, await add_endpoint(tx, tenant, **caps))
        await put(tx, "delivery", one, next_at=-GRACE)
    assert await late(tx) == (0, 0, 0, 1)
