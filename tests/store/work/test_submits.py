import asyncio
from collections import Counter
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import Database, Tx
from gateway.store.tenancy import tenants
from gateway.store.work import circuit_breaker, jobs, polls, settlement, submits
from gateway.store.work.settlement import JobEnd
from gateway.store.work.submits import Back, Doubt
from tests.builders import (
    add_credential,
    add_jobs,
    add_submitted,
    add_tenant,
    claim_jobs,
    credential_of,
    put,
    row_of,
    seconds_until,
    without_indexes,
)


async def claim_one(tx: Tx) -> tuple[UUID, UUID]:
    """Add a job that is being submitted; returns it with the token of its lease."""
    (job_id,) = await add_jobs(tx, await add_tenant(tx))
    token = uuid7()
    assert [job.id for job in await claim_jobs(tx, token=token)] == [job_id]
    return job_id, token


# --- Claim --------------------------------------------------------------------------------------


async def test_a_claimed_job_has_everything_that_its_submit_needs(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_jobs(
        tx,
        tenant,
        name="n",
        workflow="w",
        params='{ "p": 1.10 }',
        metadata='{"m": 1}',
        copy_results_to='{ "a": "b" }',
    )
    beacon = await tx.one("SELECT id, count FROM beacon")
    (job,) = await claim_jobs(tx)
    assert job == submits.ToSubmit(
        id=job_id,
        tenant_id=tenant,
        name="n",
        workflow="w",
        params='{ "p": 1.10 }',
        metadata='{"m": 1}',
        copy_results_to='{ "a": "b" }',
        credential_id=await credential_of(tx, tenant),
        credential_version=1,
        base_url="https://upstream.example/1",
        sealed=b"sealed",
        failures=0,
        rejected=False,
        narrow=False,
        strikes=1,
        beacon_id=beacon.id,
        beacon=beacon.count,
        traceparent=None,
        sends_traceparent=False,
    )


async def test_a_claim_counts_the_attempt_and_leases_the_row(tx: Tx) -> None:
    job_id, token = await claim_one(tx)
    row = await row_of(tx, "job", job_id)
    assert (row.state, row.submit_attempts, row.lease_token) == ("submitting", 1, token)
    assert (row.sent_at, row.lookups, row.version) == (row.now, 0, 2)
    assert row.credential_id == await credential_of(tx, row.tenant_id)
    assert await seconds_until(tx, "job", job_id, "next_at") == 30.0
    assert await claim_jobs(tx) == []


async def test_of_several_credentials_the_newest_is_used(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    newest = await add_credential(tx, tenant, 2)
    await add_jobs(tx, tenant)
    (job,) = await claim_jobs(tx)
    assert (job.credential_id, job.credential_version) == (newest, 2)
    assert job.base_url == "https://upstream.example/2"


async def test_higher_priority_goes_first_and_then_age(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    low = await add_jobs(tx, tenant, 2, priority=-1)
    middle = await add_jobs(tx, tenant, 2)
    high = await add_jobs(tx, tenant, 2, priority=9)
    for expected in [*high, *middle, *low]:
        (job,) = await claim_jobs(tx, 1)
        assert job.id == expected


@pytest.mark.parametrize("others", [0, 3])
async def test_a_claim_is_shared_among_the_waiting_tenants(tx: Tx, others: int) -> None:
    """A tenant gets all of it if no other waits."""
    busy = await add_tenant(tx)
    waiting = [await add_tenant(tx) for _ in range(others)]
    await add_jobs(tx, busy, 60)
    for tenant in waiting:
        await add_jobs(tx, tenant, 2)
    taken = Counter(job.tenant_id for job in await claim_jobs(tx, 40))
    assert taken == {busy: 40 // (1 + others)} | dict.fromkeys(waiting, 2)
    assert len(await claim_jobs(tx, 40)) == min(40, 60 - taken[busy])


async def test_tenants_at_their_cap_take_no_share_of_a_claim(tx: Tx) -> None:
    for _ in range(3):
        full = await add_tenant(tx, max_in_flight=1)
        await add_submitted(tx, full)
        await add_jobs(tx, full, 5)
    await add_jobs(tx, await add_tenant(tx), 20)
    assert len(await claim_jobs(tx, 20)) == 20


async def test_a_claim_takes_no_more_than_asked_for(tx: Tx) -> None:
    for _ in range(3):
        await add_jobs(tx, await add_tenant(tx), 5)
    assert len(await claim_jobs(tx, 7)) == 7
    assert len(await claim_jobs(tx, 100)) == 8


async def test_a_small_claim_does_not_always_serve_the_same_tenants(tx: Tx) -> None:
    for _ in range(4):
        await add_jobs(tx, await add_tenant(tx), 40)
    # With four tenants in random order, the same one comes first 40 times with a chance of 4 ** -39.
    firsts = {(await claim_jobs(tx, 1))[0].tenant_id for _ in range(40)}
    assert len(firsts) > 1


@pytest.mark.parametrize(
    ("own", "default", "taken"), [(None, 4, 2), (5, 4, 3), (2, 100, 0), (0, 9, 0)]
)
async def test_a_tenant_has_no_more_at_the_upstream_than_its_cap(
    tx: Tx, own: int | None, default: int, taken: int
) -> None:
    tenant = await add_tenant(tx)
    submitted, _ = await add_submitted(tx, tenant, 2)
    await polls.started(tx, [(submitted, None, None)])
    await put(tx, "tenant", tenant, max_in_flight=own)
    await add_jobs(tx, tenant, 9)
    assert len(await claim_jobs(tx, in_flight=default)) == taken
    assert await claim_jobs(tx, in_flight=default) == []


async def test_ended_jobs_do_not_count_for_the_cap(tx: Tx) -> None:
    tenant = await add_tenant(tx, max_in_flight=1)
    (ended,) = await add_submitted(tx, tenant)
    await add_jobs(tx, tenant)
    assert await claim_jobs(tx) == []
    await settlement.finish(tx, [JobEnd(ended, "succeeded", None, None, None, None)])
    assert len(await claim_jobs(tx)) == 1


async def test_a_job_waits_until_it_is_due(tx: Tx) -> None:
    (job_id,) = await add_jobs(tx, await add_tenant(tx))
    await put(tx, "job", job_id, next_at=0.001)
    assert await claim_jobs(tx) == []
    await put(tx, "job", job_id, next_at=0)
    assert len(await claim_jobs(tx)) == 1


async def test_a_suspended_tenant_or_one_without_a_credential_waits(tx: Tx) -> None:
    suspended, bare = await add_tenant(tx), await add_tenant(tx, credential=False)
    await add_jobs(tx, suspended)
    await add_jobs(tx, bare)
    await tenants.suspend(tx, suspended, suspended=True)
    assert await claim_jobs(tx) == []
    await tenants.suspend(tx, suspended, suspended=False)
    await add_credential(tx, bare)
    assert len(await claim_jobs(tx)) == 2


async def test_a_paused_credential_holds_back_only_its_own_tenant(tx: Tx) -> None:
    resting, well = await add_tenant(tx), await add_tenant(tx)
    await add_jobs(tx, resting, 3)
    await add_jobs(tx, well, 3)
    await circuit_breaker.failed(tx, await credential_of(tx, resting), 20.0, probe=False, room=100)
    assert {job.tenant_id for job in await claim_jobs(tx)} == {well}
    await put(tx, "credential", await credential_of(tx, resting), paused_until=0)
    claimed = await claim_jobs(tx)
    assert {job.tenant_id for job in claimed} == {resting}
    assert [job.failures for job in claimed] == [1, 1, 1]


async def test_a_rejected_credential_is_tried_with_one_job(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    credential = await credential_of(tx, tenant)
    await add_jobs(tx, tenant, 5)
    await circuit_breaker.reject(tx, credential, "no", 300.0)
    assert await claim_jobs(tx) == []
    await put(tx, "credential", credential, paused_until=0)
    (probe,) = await claim_jobs(tx)
    assert probe.rejected
    await circuit_breaker.well(tx, credential, submits=0, room=100)
    assert len(await claim_jobs(tx)) == 4


@pytest.mark.parametrize(("failures", "taken"), [(4, 5), (5, 1), (6, 1)])
async def test_an_open_breaker_lets_one_job_through(tx: Tx, failures: int, taken: int) -> None:
    tenant = await add_tenant(tx)
    await add_jobs(tx, tenant, 5)
    await put(tx, "credential", await credential_of(tx, tenant), failures=failures)
    assert len(await claim_jobs(tx, breaker=5)) == taken


async def test_a_new_credential_has_no_failures(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    await add_jobs(tx, tenant, 5)
    await circuit_breaker.reject(tx, await credential_of(tx, tenant), "no", 300.0)
    await add_credential(tx, tenant, 2)
    assert [job.rejected for job in await claim_jobs(tx)] == [False] * 5


async def test_two_claimers_never_get_the_same_job(db: Database) -> None:
    async with db.begin() as tx:
        ids = [id_ for _ in range(3) for id_ in await add_jobs(tx, await add_tenant(tx), 10)]
    async with db.begin() as one, db.begin() as other:
        # No triggers: where both sessions count in the same row, the second one waits for the end of the first.
        await one.row("SELECT set_config('session_replication_role', 'replica', true)")
        first = await claim_jobs(one, 12)
        second = await claim_jobs(other, 100)
    taken = [job.id for job in [*first, *second]]
    assert (len(first), len(second)) == (12, 18)
    assert sorted(taken) == sorted(ids)


async def test_many_claimers_at_once_share_the_work(db: Database) -> None:
    async with db.begin() as tx:
        ids = [id_ for _ in range(5) for id_ in await add_jobs(tx, await add_tenant(tx), 20)]

    async def work() -> list[UUID]:
        taken: list[UUID] = []
        while True:
            async with db.single() as tx:
                claimed = await claim_jobs(tx, 7)
            if not claimed:
                return taken
            taken += [job.id for job in claimed]

    lists = await asyncio.gather(*(work() for _ in range(4)))
    # A claim skips rows that another one holds, so some may be left, but none is taken twice.
    async with db.single() as tx:
        left = [job.id for job in await claim_jobs(tx, 100)]
    assert sorted([id_ for taken in lists for id_ in taken] + left) == sorted(ids)


# --- What came of it ----------------------------------------------------------------------------


async def test_a_submitted_job_has_its_upstream_id(tx: Tx) -> None:
    job_id, token = await claim_one(tx)
    assert await submits.submitted(tx, [(job_id, token, "up-1")]) == {job_id}
    row = await row_of(tx, "job", job_id)
    assert (row.state, row.upstream_id, row.lease_token) == ("submitted", "up-1", None)
    assert (row.submitted_at, row.next_at, row.version) == (row.now, row.now, 3)
    assert row.upstream_delete_at is None


async def test_a_job_that_was_not_submitted_waits_again(tx: Tx) -> None:
    (one, token), (other, second) = await claim_one(tx), await claim_one(tx)
    await submits.back(tx, [Back(one, token, 7.5, True), Back(other, second, 0.0, False)])
    counted, free = await row_of(tx, "job", one), await row_of(tx, "job", other)
    assert (counted.state, counted.lease_token, counted.submit_attempts) == ("accepted", None, 1)
    assert (free.state, free.submit_attempts, free.version) == ("accepted", 0, 3)
    assert await seconds_until(tx, "job", one, "next_at") == 7.5
    assert [job.id for job in await claim_jobs(tx)] == [other]


async def test_a_doubtful_job_is_looked_up_after_its_delay(tx: Tx) -> None:
    job_id, token = await claim_one(tx)
    await submits.doubt(tx, [Doubt(job_id, token, 2.0, 1)])
    row = await row_of(tx, "job", job_id)
    assert (row.state, row.lease_token, row.lookups) == ("submitting", None, 1)
    assert await seconds_until(tx, "job", job_id, "next_at") == 2.0
    assert await submits.claim_doubtful(tx, 9, lease=30.0, breaker=5, token=token) == []
    assert row.sent_until == row.now
    await put(tx, "job", job_id, next_at=0)
    (doubtful,) = await submits.claim_doubtful(tx, 9, lease=40.0, breaker=5, token=token)
    times = row.sent_at, row.sent_until
    assert doubtful == submits.Doubtful(
        job_id, row.tenant_id, row.credential_id, *times, 1, 0, 0, row.now
    )
    assert await seconds_until(tx, "job", job_id, "next_at") == 40.0
    assert (await row_of(tx, "job", job_id)).lease_token == token
    assert await submits.claim_doubtful(tx, 9, lease=30.0, breaker=5, token=token) == []


async def test_an_unfinished_submit_is_in_doubt_after_its_lease(tx: Tx) -> None:
    job_id, _ = await claim_one(tx)
    token = uuid7()
    assert await submits.claim_doubtful(tx, 9, lease=30.0, breaker=5, token=token) == []
    await put(tx, "job", job_id, next_at=-0.001)
    assert [
        d.id for d in await submits.claim_doubtful(tx, 9, lease=30.0, breaker=5, token=token)
    ] == [job_id]


async def test_a_submit_may_have_been_accepted_until_its_end_or_that_of_its_lease(tx: Tx) -> None:
    job_id, token = await claim_one(tx)
    credential = (await row_of(tx, "job", job_id)).credential_id
    await put(tx, "job", job_id, next_at=0, sent_at=-60, created_at=-90)

    async def until() -> float:
        (one,) = await submits.doubtful(tx, credential, lease=30.0, limit=9)
        assert one.id == job_id
        return (one.sent_until - (await row_of(tx, "job", job_id)).now).total_seconds()

    assert await until() == -30
    await submits.doubt(tx, [Doubt(job_id, token, 0.0, 1)])
    assert await until() == 0
    await put(tx, "job", job_id, sent_until=-55)
    assert await until() == -55
    await tx.run("UPDATE job SET sent_until = NULL, sent_at = created_at")
    assert await until() == 0, "of the version before: all that waited in a restored database"


async def test_only_due_jobs_of_the_credential_are_in_doubt(tx: Tx) -> None:
    job_id, _ = await claim_one(tx)
    credential = (await row_of(tx, "job", job_id)).credential_id
    assert await submits.doubtful(tx, credential, lease=30.0, limit=9) == []
    await put(tx, "job", job_id, next_at=0)
    assert await submits.doubtful(tx, uuid7(), lease=30.0, limit=9) == []
    assert len(await submits.doubtful(tx, credential, lease=30.0, limit=9)) == 1


async def test_recorded_submits_have_the_time_when_they_were_accepted(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (taken,) = await add_submitted(tx, tenant)
    (waiting,) = await add_jobs(tx, tenant)
    row = await row_of(tx, "job", taken)
    assert await submits.sent(tx, [taken, waiting, uuid7()]) == [
        (taken, row.sent_at, row.submitted_at)
    ]


async def test_a_job_in_doubt_waits_while_its_credential_is_paused(tx: Tx) -> None:
    job_id, _ = await claim_one(tx)
    await put(tx, "job", job_id, next_at=0)
    credential = (await row_of(tx, "job", job_id)).credential_id
    await circuit_breaker.failed(tx, credential, 20.0, probe=False, room=100)
    assert await submits.claim_doubtful(tx, 9, lease=30.0, breaker=5, token=uuid7()) == []
    await put(tx, "credential", credential, paused_until=0)
    assert len(await submits.claim_doubtful(tx, 9, lease=30.0, breaker=5, token=uuid7())) == 1


async def test_the_longest_in_doubt_is_looked_up_first(tx: Tx) -> None:
    ids = [(await claim_one(tx))[0] for _ in range(3)]
    for age, job_id in zip((2, 3, 1), ids, strict=True):
        await put(tx, "job", job_id, next_at=-age)
    await without_indexes(tx)
    taken = await submits.claim_doubtful(tx, 2, lease=30.0, breaker=5, token=uuid7())
    assert {d.id for d in taken} == set(ids[:2])


async def test_two_claimers_of_jobs_in_doubt_share_them(db: Database) -> None:
    async with db.begin() as tx:
        ids = [(await claim_one(tx))[0] for _ in range(4)]
        for job_id in ids:
            await put(tx, "job", job_id, next_at=-1)
    async with db.begin() as one, db.begin() as other:
        first = await submits.claim_doubtful(one, 3, lease=30.0, breaker=5, token=uuid7())
        second = await submits.claim_doubtful(other, 3, lease=30.0, breaker=5, token=uuid7())
    assert (len(first), len(second)) == (3, 1)
    assert sorted(d.id for d in [*first, *second]) == sorted(ids)


async def test_a_worker_that_lost_its_lease_changes_nothing(tx: Tx) -> None:
    job_id, stale = await claim_one(tx)
    await put(tx, "job", job_id, next_at=0)
    await submits.claim_doubtful(tx, 9, lease=30.0, breaker=5, token=uuid7())
    before = await row_of(tx, "job", job_id)
    assert await submits.submitted(tx, [(job_id, stale, "late")]) == set()
    await submits.back(tx, [Back(job_id, stale, 0.0, False)])
    await submits.doubt(tx, [Doubt(job_id, stale, 0.0, 9)])
    assert await row_of(tx, "job", job_id) == before


async def test_an_outcome_after_the_end_changes_nothing(tx: Tx) -> None:
    job_id, token = await claim_one(tx)
    await settlement.finish(tx, [JobEnd(job_id, "expired", None, "{}", None, None)])
    await put(tx, "job", job_id, lease_token=token)  # as if the end had not cleared it
    before = await row_of(tx, "job", job_id)
    assert await submits.submitted(tx, [(job_id, token, "late")]) == set()
    await submits.back(tx, [Back(job_id, token, 0.0, False)])
    await submits.doubt(tx, [Doubt(job_id, token, 0.0, 9)])
    assert await row_of(tx, "job", job_id) == before


async def test_a_lease_covers_only_its_own_job(tx: Tx) -> None:
    (one, token), (other, _) = await claim_one(tx), await claim_one(tx)
    assert await submits.submitted(tx, [(one, token, "a"), (other, token, "b")]) == {one}
    assert (await row_of(tx, "job", other)).state == "submitting"


async def test_a_job_deleted_during_its_submit_is_deleted_upstream_too(tx: Tx) -> None:
    job_id, token = await claim_one(tx)
    await settlement.finish(tx, [JobEnd(job_id, "cancelled", None, "{}", None, None)])
    tenant = (await row_of(tx, "job", job_id)).tenant_id
    await jobs.delete(tx, tenant, job_id, 30.0)
    assert await submits.submitted(tx, [(job_id, token, "orphan")]) == set()
    row = await row_of(tx, "job", job_id)
    assert (row.state, row.upstream_id) == ("cancelled", "orphan")
    assert row.upstream_delete_at == row.now
    # A second answer, to a repeated submit, does not replace the first one.
    await submits.submitted(tx, [(job_id, token, "another")])
    assert (await row_of(tx, "job", job_id)).upstream_id == "orphan"
