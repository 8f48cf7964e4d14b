import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.core.model import JobState, NewJob
from gateway.store.database import Database, Tx
from gateway.store.work import jobs, settlement, submits
from gateway.store.work.settlement import JobEnd
from tests.builders import (
    TRACEPARENT,
    add_jobs,
    add_submitted,
    add_tenant,
    claim_jobs,
    credential_of,
    new_job,
    put,
    row_of,
    seconds_until,
    without_indexes,
)
from tests.store.blocking import blocked


async def insert(db: Database, *new: NewJob) -> set[UUID]:
    async with db.begin() as tx:
        return await jobs.insert(tx, new)


# --- Insert -------------------------------------------------------------------------------------


async def test_a_job_is_found_with_its_fields(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    new = NewJob(
        id=uuid7(),
        tenant_id=tenant,
        name="n",
        workflow="w",
        params='{ "p": 1.10, "p": 2 }',
        metadata='{"m": "é"}',
        copy_results_to="[ 1 ]",
        batch_name="b",
        callback_url="https://own.example",
        priority=-3,
        deadline_seconds=90.5,
        idempotency_key="k",
        request_hash=b"h",
        retry_of=uuid7(),
        traceparent=TRACEPARENT,
    )
    assert await jobs.insert(tx, [new]) == {new.id}
    job = await jobs.find(tx, tenant, new.id)
    assert job is not None
    for name in ("id", "tenant_id", "name", "workflow", "params", "metadata", "copy_results_to"):
        assert getattr(job, name) == getattr(new, name), name
    for name in ("batch_name", "callback_url", "priority", "retry_of", "traceparent"):
        assert getattr(job, name) == getattr(new, name), name
    assert (job.tenant, job.app) == (f"t-{tenant.hex}", "Acme")
    assert (job.state, job.version, job.submit_attempts) == (JobState.ACCEPTED, 1, 0)
    assert job.next_at is None, "it is due"
    assert job.deadline_at == job.created_at + timedelta(seconds=90.5)
    assert (job.result, job.error, job.upstream_id, job.credential_id) == (None,) * 4
    assert (job.submitted_at, job.started_at, job.completed_at) == (None,) * 3


async def test_optional_fields_of_a_job_are_empty(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_jobs(tx, tenant)
    job = await jobs.find(tx, tenant, job_id)
    assert job is not None
    assert (job.copy_results_to, job.batch_name, job.callback_url, job.retry_of) == (None,) * 4
    assert job.deadline_at == job.created_at + timedelta(days=1)


async def test_a_key_used_twice_in_one_batch_makes_one_job(tx: Tx) -> None:
    one, other = await add_tenant(tx), await add_tenant(tx)
    batch = [
        new_job(one, idempotency_key="k", request_hash=b"1"),
        new_job(one, idempotency_key="k", request_hash=b"2"),
        new_job(one, idempotency_key="l"),
        new_job(other, idempotency_key="k", request_hash=b"3"),
        new_job(one),
        new_job(one),
    ]
    stored = await jobs.insert(tx, batch)
    assert stored == {job.id for job in batch if job is not batch[1]}
    found = await jobs.earlier(tx, [(one, "k"), (other, "k"), (one, "unused"), (other, "l")])
    assert sorted(found) == sorted(
        [jobs.Earlier(one, "k", batch[0].id, b"1"), jobs.Earlier(other, "k", batch[3].id, b"3")]
    )


async def test_a_key_used_before_makes_no_job(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (first,) = await add_jobs(tx, tenant, idempotency_key="k", request_hash=b"h")
    fresh = new_job(tenant)
    assert await jobs.insert(tx, [new_job(tenant, idempotency_key="k"), fresh]) == {fresh.id}
    assert [e.id for e in await jobs.earlier(tx, [(tenant, "k")])] == [first]


async def test_a_key_stays_used_when_its_job_was_deleted(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (first,) = await add_jobs(tx, tenant, idempotency_key="k", request_hash=b"h")
    await jobs.delete(tx, tenant, first, 30.0)
    assert await jobs.insert(tx, [new_job(tenant, idempotency_key="k")]) == set()
    assert [e.id for e in await jobs.earlier(tx, [(tenant, "k")])] == [first]


@pytest.mark.parametrize("commits", [True, False])
async def test_the_second_of_two_inserts_with_one_key_waits_for_the_first(
    db: Database, commits: bool
) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
    one, other = (new_job(tenant, idempotency_key="k", request_hash=b"h") for _ in range(2))
    first = db.begin()
    tx = await first.__aenter__()
    assert await jobs.insert(tx, [one]) == {one.id}
    second = await blocked(db, insert(db, other))
    failure = None if commits else asyncio.CancelledError()
    ended = await first.__aexit__(type(failure) if failure else None, failure, None)
    assert not ended
    assert await second == (set() if commits else {other.id})
    async with db.begin() as tx:
        (found,) = await jobs.earlier(tx, [(tenant, "k")])
    assert found.id == (one.id if commits else other.id)


async def test_batches_with_the_same_keys_in_any_order_do_not_deadlock(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
    one, other, third, fourth = (new_job(tenant, idempotency_key=key) for key in "abab")
    async with db.begin() as tx:
        await jobs.insert(tx, [one])
        second = await blocked(db, insert(db, fourth, third))
        # It waits for the first key and holds no other.
        assert await jobs.insert(tx, [other]) == {other.id}
    assert await second == set()


# --- Find and count -----------------------------------------------------------------------------


async def test_another_tenants_job_is_not_found(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    (job_id,) = await add_jobs(tx, tenant)
    assert await jobs.find(tx, other, job_id) is None
    assert await jobs.find(tx, tenant, uuid7()) is None


async def test_the_position_in_the_queue_is_counted(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    low = await add_jobs(tx, tenant, 2, priority=-1)
    middle = await add_jobs(tx, tenant, 2)
    high = await add_jobs(tx, tenant, 2, priority=1)
    theirs = await add_jobs(tx, other, 5, priority=9)
    order = [*high, *middle, *low]
    asked = await jobs.find_all(tx, [*order, theirs[3]])
    places = {job_id: place for place, job_id in enumerate(order)} | {theirs[3]: 3}
    assert await jobs.ahead(tx, asked) == places
    assert await jobs.ahead(tx, asked[:1]) == {asked[0].id: places[asked[0].id]}
    assert await jobs.ahead(tx, []) == {}
    await settlement.finish(tx, [JobEnd(high[0], "cancelled", None, "{}", None, None)])
    later = {job_id: place for place, job_id in enumerate(order[1:])}
    assert await jobs.ahead(tx, asked) == later | {high[0]: 0, theirs[3]: 3}
    assert (await jobs.ahead(tx, asked, farthest=3))[low[1]] == 3, (
        "it is not counted beyond a bound"
    )


async def test_several_jobs_are_found_in_one_statement(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    mine, (theirs,) = await add_jobs(tx, tenant, 3), await add_jobs(tx, other, 1)
    await jobs.delete(tx, tenant, mine[2], 30.0)
    found = await jobs.find_all(tx, [*mine, theirs, uuid7()])
    assert {job.id: job for job in found} == {
        id_: await jobs.find(tx, owner, id_)
        for owner, id_ in [(tenant, mine[0]), (tenant, mine[1]), (other, theirs)]
    }


async def test_waiting_jobs_are_counted(tx: Tx) -> None:
    one, other, empty = [await add_tenant(tx) for _ in range(3)]
    await add_submitted(tx, one, 2)
    await add_jobs(tx, one, 3)
    await add_jobs(tx, other, 5)
    assert await jobs.queued(tx, [one, other, empty]) == {one: 3, other: 5, empty: 0}


# --- Delete -------------------------------------------------------------------------------------


async def test_a_deleted_job_is_hidden_and_its_payload_gone(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    (job_id,) = await add_submitted(tx, tenant, params='{"a":1}', copy_results_to='{"b":2}')
    await settlement.finish(tx, [JobEnd(job_id, "succeeded", '{"r":1}', None, None, None)])
    assert await jobs.delete(tx, other, job_id, 30.0) is None
    credential = await credential_of(tx, tenant)
    assert await jobs.delete(tx, tenant, job_id, 30.0) == (credential, f"up-{job_id}")
    assert await jobs.find(tx, tenant, job_id) is None
    row = await row_of(tx, "job", job_id)
    assert (row.params, row.result, row.copy_results_to, row.lease_token) == (
        "{}",
        None,
        None,
        None,
    )
    assert row.deleted_at == row.upstream_delete_at == row.now
    assert await jobs.delete(tx, tenant, job_id, 30.0) is None


async def test_a_job_that_was_never_submitted_is_not_deleted_upstream(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_jobs(tx, tenant)
    await settlement.finish(tx, [JobEnd(job_id, "cancelled", None, "{}", None, None)])
    assert await jobs.delete(tx, tenant, job_id, 30.0) == (None, None)
    assert (await row_of(tx, "job", job_id)).upstream_delete_at is None


async def test_a_job_that_the_upstream_refused_is_not_deleted_there(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_jobs(tx, tenant)
    await claim_jobs(tx)
    await settlement.finish(tx, [JobEnd(job_id, "failed", None, "{}", None, None)])
    await jobs.delete(tx, tenant, job_id, 30.0)
    assert (await row_of(tx, "job", job_id)).upstream_delete_at is None


async def test_a_job_deleted_during_its_submit_is_looked_up_after_the_submit(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_jobs(tx, tenant)
    await claim_jobs(tx)
    await settlement.finish(tx, [JobEnd(job_id, "cancelled", None, "{}", None, None)])
    await jobs.delete(tx, tenant, job_id, 30.0)
    assert await seconds_until(tx, "job", job_id, "upstream_delete_at") == 30.0
    assert await jobs.claim_pending_deletions(tx, 9, 60.0) == []
    await put(tx, "job", job_id, upstream_delete_at=0)
    row = await row_of(tx, "job", job_id)
    doomed = jobs.PendingDeletion(job_id, row.credential_id, None, row.sent_at, row.now)
    assert await jobs.claim_pending_deletions(tx, 9, 60.0) == [doomed]
    assert await seconds_until(tx, "job", job_id, "upstream_delete_at") == 60.0
    assert await jobs.claim_pending_deletions(tx, 9, 60.0) == []


async def test_a_deletion_upstream_is_done_once(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    one, other = await add_submitted(tx, tenant, 2)
    for job_id in (one, other):
        await settlement.finish(tx, [JobEnd(job_id, "cancelled", None, "{}", None, None)])
        await jobs.delete(tx, tenant, job_id, 30.0)
    await jobs.forget_upstream(tx, [one])
    assert [d.id for d in await jobs.claim_pending_deletions(tx, 9, 60.0)] == [other]


async def test_two_claimers_of_deletions_share_the_work(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        ids = await add_submitted(tx, tenant, 5)
        for age, job_id in enumerate(ids):
            await settlement.finish(tx, [JobEnd(job_id, "cancelled", None, "{}", None, None)])
            await jobs.delete(tx, tenant, job_id, 30.0)
            await put(tx, "job", job_id, upstream_delete_at=-age - 1)
    async with db.begin() as one, db.begin() as other:
        await without_indexes(one)
        first = {d.id for d in await jobs.claim_pending_deletions(one, 2, 60.0)}
        second = {d.id for d in await jobs.claim_pending_deletions(other, 9, 60.0)}
    assert (first, second) == (set(ids[3:]), set(ids[:3]))


async def test_a_deleted_job_leaves_the_queue(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_jobs(tx, tenant)
    await settlement.finish(tx, [JobEnd(job_id, "cancelled", None, "{}", None, None)])
    await jobs.delete(tx, tenant, job_id, 30.0)
    assert await claim_jobs(tx) == []
    assert await submits.claim_doubtful(tx, 9, lease=1.0, breaker=5, token=uuid7()) == []


async def test_the_tenant_of_a_job_is_found(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_jobs(tx, tenant)
    assert await jobs.owner(tx, job_id) == tenant
    assert await jobs.owner(tx, uuid7()) is None
