import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from gateway.core.model import TERMINAL, Job, JobState
from gateway.store.database import Database, Tx
from gateway.store.webhooks import attempts, endpoints
from gateway.store.work import jobs, polls, settlement
from gateway.store.work.settlement import JobEnd, NewDelivery, NewEvent, SubscribedEndpoint
from tests.builders import (
    add_endpoint,
    add_event,
    add_jobs,
    add_submitted,
    add_tenant,
    claim_jobs,
    put,
    row_of,
)
from tests.store.blocking import blocked

AT = datetime(2026, 1, 2, tzinfo=UTC)
LATER = datetime(2026, 1, 3, tzinfo=UTC)


def end(job_id: UUID, state: str = "succeeded", token: UUID | None = None) -> JobEnd:
    return JobEnd(job_id, state, '{"r": 1.10}', None, None, None, token)


# --- Finish -------------------------------------------------------------------------------------


async def test_an_ended_job_is_returned_with_its_fields(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_submitted(tx, tenant)
    await put(tx, "job", job_id, created_at=AT)
    (job,) = await settlement.finish(
        tx, [JobEnd(job_id, "failed", '{ "r": 1.10 }', '{"code":"X"}', AT, LATER)]
    )
    assert job == await jobs.find(tx, tenant, job_id)
    assert (job.state, job.result, job.error) == (JobState.FAILED, '{ "r": 1.10 }', '{"code":"X"}')
    assert (job.started_at, job.completed_at, job.version) == (AT, LATER, 4)


async def test_missing_times_are_set_from_our_clock(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (started, silent) = await add_submitted(tx, tenant, 2)
    await put(tx, "job", started, created_at=AT)
    await polls.started(tx, [(started, AT, None)])
    ended = {job.id: job for job in await settlement.finish(tx, [end(started), end(silent)])}
    now = (await row_of(tx, "job", started)).now
    assert (ended[started].started_at, ended[started].completed_at) == (AT, now)
    assert (ended[silent].started_at, ended[silent].completed_at) == (None, now)


async def test_a_reported_start_is_not_changed(tx: Tx) -> None:
    """Otherwise `job.started` and the event of the end would name two starts."""
    (job_id,) = await add_submitted(tx, await add_tenant(tx))
    await put(tx, "job", job_id, created_at=-600)
    row = await row_of(tx, "job", job_id)
    first, second, over = (row.now - timedelta(seconds=n) for n in (60, 90, 30))
    await polls.started(tx, [(job_id, first, None)])
    (job,) = await settlement.finish(tx, [JobEnd(job_id, "succeeded", "{}", None, second, over)])
    assert (job.started_at, job.completed_at) == (first, over)


@pytest.mark.parametrize("off", [3600, -3600, 86_400 * 365])
async def test_times_of_a_wrong_upstream_clock_are_corrected(tx: Tx, off: int) -> None:
    (job_id,) = await add_submitted(tx, await add_tenant(tx))
    await put(tx, "job", job_id, created_at=-600, sent_at=-590, submitted_at=-590)
    row = await row_of(tx, "job", job_id)
    made, began, over = (row.now + timedelta(seconds=n + off) for n in (-590, -500, -400))
    end = JobEnd(job_id, "succeeded", "{}", None, began, over, made_at=made)
    (job,) = await settlement.finish(tx, [end])
    assert job.started_at is not None
    assert job.completed_at is not None
    assert (row.now - job.started_at).total_seconds() == 500.0
    assert (row.now - job.completed_at).total_seconds() == 400.0


@pytest.mark.parametrize(
    ("began", "over", "started", "completed"),
    [
        (-50, -70, -50, -50),  # an end before its start
        (-9_000, -8_000, -600, -600),  # before the job was made, by a wrong clock
        (9_000, 9_900, 0, 0),  # in the future
        (None, -8_000, None, -600),
        (-50, None, -50, 0),
    ],
)
async def test_times_of_a_job_are_in_order(
    tx: Tx, began: int | None, over: int | None, started: int | None, completed: int
) -> None:
    (job_id,) = await add_submitted(tx, await add_tenant(tx))
    await put(tx, "job", job_id, created_at=-600)
    now = (await row_of(tx, "job", job_id)).now

    def at(seconds: int | None) -> datetime | None:
        return None if seconds is None else now + timedelta(seconds=seconds)

    (job,) = await settlement.finish(
        tx, [JobEnd(job_id, "failed", None, "{}", at(began), at(over))]
    )
    assert (job.started_at, job.completed_at) == (at(started), at(completed))


@pytest.mark.parametrize("state", JobState)
async def test_a_job_ends_once_and_stays_ended(tx: Tx, state: JobState) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_jobs(tx, tenant)
    await put(tx, "job", job_id, state=state.value)
    before = await row_of(tx, "job", job_id)
    ended = await settlement.finish(tx, [end(job_id, "expired")])
    assert len(ended) == (state not in TERMINAL)
    assert await settlement.finish(tx, [end(job_id, "failed")]) == []
    row = await row_of(tx, "job", job_id)
    assert row.state == ("expired" if ended else state.value)
    assert ended or row == before


async def test_with_a_token_only_the_holder_of_the_lease_may_end_a_job(tx: Tx) -> None:
    await add_jobs(tx, await add_tenant(tx), 2)
    token = uuid7()
    one, other = [job.id for job in await claim_jobs(tx, token=token)]
    assert await settlement.finish(tx, [end(one, token=uuid7())]) == []
    ended = await settlement.finish(tx, [end(one, token=token), end(other)])
    assert {job.id for job in ended} == {one, other}
    assert (await row_of(tx, "job", one)).lease_token is None


async def test_a_job_that_ends_twice_in_one_batch_ends_once(tx: Tx) -> None:
    (job_id,) = await add_submitted(tx, await add_tenant(tx))
    ended = await settlement.finish(tx, [end(job_id), end(job_id, "failed")])
    assert [job.id for job in ended] == [job_id]
    assert (await row_of(tx, "job", job_id)).state == ended[0].state
    assert (await row_of(tx, "job", job_id)).version == 4


async def test_an_unknown_job_does_not_end(tx: Tx) -> None:
    assert await settlement.finish(tx, [end(uuid7())]) == []


async def test_concurrent_settlements_end_each_job_once(db: Database) -> None:
    async with db.begin() as tx:
        ids = await add_submitted(tx, await add_tenant(tx), 25)

    async def finish(order: list[UUID], state: str) -> list[Job]:
        async with db.begin() as tx:
            return await settlement.finish(tx, [end(id_, state) for id_ in order])

    ended = await asyncio.gather(
        finish(ids, "succeeded"),
        finish(ids[::-1], "failed"),
        finish(ids[10:] + ids[:10], "expired"),
    )
    assert sorted(job.id for jobs_ in ended for job in jobs_) == sorted(ids)
    async with db.begin() as tx:
        for job in [job for jobs_ in ended for job in jobs_]:
            row = await row_of(tx, "job", job.id)
            assert (row.state, row.version) == (job.state.value, 4)


async def test_concurrent_settlements_in_any_order_do_not_deadlock(db: Database) -> None:
    async with db.begin() as tx:
        ids = await add_submitted(tx, await add_tenant(tx), 2)

    async def finish_both() -> list[Job]:
        async with db.begin() as tx:
            return await settlement.finish(tx, [end(id_, "failed") for id_ in ids[::-1]])

    async with db.begin() as tx:
        await settlement.finish(tx, [end(ids[0])])
        finishing = await blocked(db, finish_both())
        # It waits for the first row and holds no other.
        assert len(await settlement.finish(tx, [end(ids[1])])) == 1
    assert await finishing == []


# --- Events and deliveries ----------------------------------------------------------------------


async def test_the_receivers_are_the_endpoints_of_the_tenants(tx: Tx) -> None:
    one, other, foreign = [await add_tenant(tx) for _ in range(3)]
    some, disabled = await add_endpoint(tx, one, "job.failed"), await add_endpoint(tx, other)
    deleted = await add_endpoint(tx, one)
    await add_endpoint(tx, foreign)
    await attempts.disable(tx, disabled, "gone")
    await endpoints.delete(tx, one, deleted)
    assert sorted(await settlement.receivers(tx, [one, other])) == sorted(
        [
            SubscribedEndpoint(some, one, ["job.failed"], False),
            SubscribedEndpoint(disabled, other, [], True),
        ]
    )
    assert await settlement.receivers(tx, []) == []


async def test_events_and_deliveries_are_stored_as_given(tx: Tx) -> None:
    tenant, job_id = await add_tenant(tx), uuid7()
    endpoint = await add_endpoint(tx, tenant)
    events = [
        NewEvent(uuid7(), tenant, job_id, "job.failed", '{ "frozen": 1.10 }'),
        NewEvent(uuid7(), tenant, None, "test.ping", "{}", endpoint, is_sample=True),
    ]
    await settlement.add_events(tx, events)
    for event in events:
        row = await row_of(tx, "event", event.id)
        assert tuple(row[name] for name in NewEvent._fields) == event
        assert row.created_at == row.now
    lane = uuid7()
    owed = [
        NewDelivery(
            uuid7(), tenant, events[0].id, job_id, endpoint, None, endpoint, "parked", "job.failed"
        ),
        NewDelivery(
            uuid7(), tenant, events[1].id, None, None, "https://a", lane, "pending", "test.ping"
        ),
    ]
    await settlement.add_deliveries(tx, owed)
    for one in owed:
        row = await row_of(tx, "delivery", one.id)
        assert tuple(row[name] for name in NewDelivery._fields) == one
        assert (row.attempts, row.next_at) == (0, row.now)


async def test_an_endpoint_has_one_delivery_of_an_event(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    event = await add_event(tx, tenant)
    one, other = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    owed = [
        NewDelivery(uuid7(), tenant, event, None, endpoint, None, endpoint, "pending")
        for endpoint in (one, other, one)
    ]
    await settlement.add_deliveries(tx, owed[:2])
    with pytest.raises(asyncpg.UniqueViolationError):
        await settlement.add_deliveries(tx, owed[2:])
