"""Bulk operations on jobs: counted first, done in batches, and each job only once."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec
import pytest

from gateway.core.lifecycle import expired
from gateway.core.model import JobState, Limits, Tenant
from gateway.core.policy import Policy
from gateway.errors import BadRequest
from gateway.flows.bulk.deliveries import step, stop
from gateway.flows.bulk.jobs import act, cancel_jobs, resend_webhooks, retry_jobs
from gateway.flows.bulk.start import DryRun
from gateway.flows.settle.settlement import ending, settle
from gateway.flows.upstream.delete_job import delete_job
from gateway.store.job_search.filter import JobFilter
from gateway.store.work import bulk_operations, jobs
from gateway.store.work.bulk_operations import Operation, Progress
from tests.builders import new_job
from tests.flows.accept.test_retry_job import ENDS, end
from tests.flows.bulk_scenes import began, operation, run_all
from tests.flows.world import HOOK, World
from tests.store.blocking import blocked

ALL = JobFilter(None)


async def ended(world: World, tenant: Tenant, count: int, state: str = "failed") -> list[UUID]:
    """Jobs that came to that end."""
    ids = await world.accept(tenant, count)
    async with world.deps.db.begin() as tx:
        await settle(tx, world.deps, [ending(id_, ENDS[JobState(state)]) for id_ in ids])
    return sorted(ids)


async def retries(world: World) -> list[UUID]:
    """The jobs that were run again, by those that do it."""
    rows = await world.rows("SELECT retry_of FROM job WHERE retry_of IS NOT NULL ORDER BY id")
    return [row.retry_of for row in rows]


async def state_of(world: World, ids: Sequence[UUID]) -> list[str]:
    return [(await world.job(id_)).state for id_ in ids]


async def claimed(world: World) -> Operation:
    async with world.deps.db.single() as tx:
        found = await bulk_operations.claim(tx, lease=30.0, token=world.deps.ids.uuid())
    assert found is not None
    return found


async def due(world: World) -> None:
    """Let the pause or the lease of an operation end."""
    await world.run("UPDATE bulk SET next_at = now() WHERE state = 'running'")


# --- Cancel --------------------------------------------------------------------------------------


async def test_open_jobs_are_deleted_and_no_others(world: World):
    tenant, other = await world.tenant(hook=HOOK), await world.tenant("other")
    upstream = await world.at_upstream(tenant, 2)
    waiting = await world.accept(tenant, 2)
    done = await ended(world, tenant, 1)
    theirs = await world.accept(other, 2)
    assert await cancel_jobs(world.deps, tenant.id, ALL, dry_run=True) == DryRun(4)
    assert await world.value("SELECT count(*) FROM bulk") == 0
    world.queue.wakes.clear()
    made = began(await cancel_jobs(world.deps, tenant.id, ALL))
    assert (made.kind, made.total, made.done, made.state) == ("cancel-jobs", 4, 0, "running")
    assert (made.endpoint_id, made.until) == (None, max(upstream + waiting))
    assert [verb for verb, _ in world.queue.wakes] == ["bulk"]
    assert (await operation(world)).done == 0, "nothing is done before a worker does it"
    await run_all(world)
    row = await operation(world)
    assert (row.state, row.done, row.completed_at is not None) == ("done", 4, True)
    assert await state_of(world, upstream + waiting) == ["cancelled"] * 4
    assert len(world.upstream.gone) == 2
    assert await state_of(world, [*done, *theirs]) == ["failed", "accepted", "accepted"]
    deleted = await world.rows("SELECT id FROM job WHERE deleted_at IS NOT NULL")
    assert {row.id for row in deleted} == {*upstream, *waiting}
    assert (await world.event_types()).count("job.deleted") == 4
    fields = {"kind": "cancel-jobs", "tenant_id": tenant.id, "rows": 4, "done": 4, "total": 4}
    assert world.seen("bulk") == [("done", fields)]


async def test_a_filter_says_which(world: World):
    tenant = await world.tenant()
    (mine,) = await world.accept(tenant, name="x", batch_name="b", metadata='{"k":"v"}')
    await world.accept(tenant, 2, name="y")
    for wanted in (
        JobFilter(None, names=("x",)),
        JobFilter(None, batch_names=("a", "b")),
        JobFilter(None, states=("accepted",), names=("x",)),
    ):
        assert await cancel_jobs(world.deps, tenant.id, wanted, dry_run=True) == DryRun(1)
    await cancel_jobs(world.deps, tenant.id, JobFilter(None, names=("x",)))
    await run_all(world)
    assert await world.states() == {"cancelled": 1, "accepted": 2}
    assert (await world.job(mine)).deleted_at is not None


async def test_the_tenants_of_a_filter_are_not_believed(world: World):
    tenant, other = await world.tenant(), await world.tenant("other")
    await world.accept(other, 2)
    await ended(world, other, 2)
    theirs = JobFilter((other.id,))
    assert await cancel_jobs(world.deps, tenant.id, theirs, dry_run=True) == DryRun(0)
    assert await retry_jobs(world.deps, tenant.id, theirs, dry_run=True) == DryRun(0)


async def test_only_open_jobs_can_be_cancelled_and_only_ended_ones_retried(world: World):
    tenant = await world.tenant()
    for state in JobState:
        is_end = state.value in ENDS
        refusing, taking = (cancel_jobs, retry_jobs) if is_end else (retry_jobs, cancel_jobs)
        wanted = JobFilter(None, states=(state.value,))
        with pytest.raises(BadRequest, match="status: only jobs that have") as refused:
            await refusing(world.deps, tenant.id, wanted)
        assert [fault.field for fault in refused.value.errors] == ["status"]
        assert await taking(world.deps, tenant.id, wanted, dry_run=True) == DryRun(0)
    with pytest.raises(BadRequest, match="status"):
        await retry_jobs(world.deps, tenant.id, JobFilter(None, states=("failed", "running")))


async def test_an_operation_on_nothing_is_done(world: World):
    tenant = await world.tenant()
    made = began(await cancel_jobs(world.deps, tenant.id, ALL))
    assert (made.state, made.total) == ("done", 0)
    assert not await step(world.deps, world.acceptor)


async def test_a_job_that_has_ended_meanwhile_stays(world: World):
    tenant = await world.tenant()
    first, ended_, deleted = await world.accept(tenant, 3)
    await cancel_jobs(world.deps, tenant.id, ALL)
    await end(world, ended_, ENDS[JobState.SUCCEEDED])
    await delete_job(world.deps, tenant.id, deleted)
    later = await world.accept_one(tenant)
    await run_all(world)
    assert await state_of(world, [first, ended_, later]) == ["cancelled", "succeeded", "accepted"]
    assert (await world.job(ended_)).deleted_at is None
    assert (await operation(world)).done == 1


@pytest.mark.parametrize("what", ["ends", "is deleted"])
async def test_a_job_that_ends_in_that_moment_holds_up_no_other(world: World, what: str):
    tenant = await world.tenant()
    first, second = sorted(await world.accept(tenant, 2))
    await cancel_jobs(world.deps, tenant.id, ALL)
    async with world.deps.db.begin() as tx:
        await jobs.hold(tx, tenant.id, first)
        stepping = await blocked(world.deps.db, step(world.deps, world.acceptor))
        if what == "ends":
            await settle(tx, world.deps, [ending(first, expired())])
        else:
            await jobs.delete(tx, tenant.id, first, 30.0)
    assert await stepping
    assert (await world.job(second)).state == "cancelled"
    row = await world.job(first)
    assert (row.state, row.deleted_at is None) == (
        ("expired", True) if what == "ends" else ("accepted", False)
    )
    assert (await operation(world)).state == "done"


# --- Retry ---------------------------------------------------------------------------------------


async def test_without_a_status_failed_jobs_are_retried(world: World):
    tenant, other = await world.tenant(), await world.tenant("other")
    failed = await ended(world, tenant, 2)
    late = await ended(world, tenant, 1, "expired")
    for state in ("succeeded", "cancelled"):
        await ended(world, tenant, 1, state)
    await world.accept(tenant, 1)
    await ended(world, other, 1)
    assert await retry_jobs(world.deps, tenant.id, ALL, dry_run=True) == DryRun(3)
    made = began(await retry_jobs(world.deps, tenant.id, ALL))
    assert (made.kind, made.total) == ("retry-jobs", 3)
    await run_all(world)
    assert await retries(world) == failed + late
    row = await operation(world)
    assert (row.state, row.done) == ("done", 3)
    rows = await world.rows("SELECT * FROM job WHERE retry_of IS NOT NULL")
    assert {(row.tenant_id, row.state) for row in rows} == {(tenant.id, "accepted")}


async def test_with_a_status_others_are_too(world: World):
    tenant = await world.tenant()
    await ended(world, tenant, 1)
    done = await ended(world, tenant, 2, "succeeded")
    await retry_jobs(world.deps, tenant.id, JobFilter(None, states=("succeeded",)))
    await run_all(world)
    assert await retries(world) == done


async def test_a_retry_that_fails_at_once_is_not_run_again_by_the_same_operation(world: World):
    tenant = await world.tenant()
    failed = await ended(world, tenant, 3)
    await retry_jobs(world.deps, tenant.id, ALL)
    assert await step(world.deps, world.acceptor)
    async with world.deps.db.begin() as tx:
        rows = await tx.rows("SELECT id FROM job WHERE retry_of IS NOT NULL")
        await settle(tx, world.deps, [ending(row.id, ENDS[JobState.FAILED]) for row in rows])
    await run_all(world)
    assert await retries(world) == failed


async def test_jobs_can_be_named_by_their_ids(world: World):
    tenant, other = await world.tenant(), await world.tenant("other")
    first, second, _ = await ended(world, tenant, 3)
    (theirs,) = await ended(world, other, 1)
    wanted = JobFilter(None, ids=(second, first, theirs))
    await retry_jobs(world.deps, tenant.id, wanted)
    await run_all(world)
    assert await retries(world) == [first, second]


async def test_what_is_asked_for_twice_begins_once(world: World):
    tenant = await world.tenant()
    failed, once = await ended(world, tenant, 2), world.deps.ids.uuid()
    begun = await asyncio.gather(
        *(retry_jobs(world.deps, tenant.id, ALL, once=once) for _ in range(3))
    )
    assert {began(one).id for one in begun} == {once}
    await run_all(world)
    assert await retries(world) == failed


# --- Resend --------------------------------------------------------------------------------------


async def test_all_webhooks_of_jobs_are_sent_again(world: World):
    tenant = await world.tenant(hook=HOOK)
    jobs_ = await ended(world, tenant, 3)
    await world.run("UPDATE delivery SET state = 'delivered', completed_at = now(), attempts = 1")
    wanted = JobFilter(None, ids=tuple(jobs_[:2]))
    assert await resend_webhooks(world.deps, tenant.id, wanted, dry_run=True) == DryRun(2)
    made = began(await resend_webhooks(world.deps, tenant.id, wanted))
    assert (made.kind, made.total) == ("resend-webhooks", 2)
    await run_all(world)
    row = await operation(world)
    assert (row.state, row.done) == ("done", 2)
    rows = await world.rows("SELECT job_id, state, resent_at FROM delivery ORDER BY job_id")
    assert {row.job_id for row in rows if row.state == "pending"} == set(jobs_[:2])
    assert [row.resent_at is None for row in rows if row.job_id == jobs_[2]] == [True]


async def test_an_operation_whose_jobs_went_meanwhile_ends(world: World):
    tenant = await world.tenant(hook=HOOK)
    (job_id,) = await ended(world, tenant, 1)
    await resend_webhooks(world.deps, tenant.id, ALL)
    await world.run("DELETE FROM job WHERE id = $1", job_id)
    await run_all(world)
    row = await operation(world)
    assert (row.state, row.done) == ("done", 0)


async def test_webhooks_of_a_disabled_endpoint_stay(world: World):
    tenant = await world.tenant(hook=HOOK)
    await ended(world, tenant, 1)
    await world.run("UPDATE delivery SET state = 'exhausted', completed_at = now()")
    await world.run("UPDATE endpoint SET disabled_at = now()")
    await resend_webhooks(world.deps, tenant.id, ALL)
    await run_all(world)
    assert await world.value("SELECT state FROM delivery") == "exhausted"


# --- Progress ------------------------------------------------------------------------------------


async def test_it_goes_on_batch_by_batch(world: World):
    tenant = await world.tenant()
    ids = await ended(world, tenant, 5)
    await retry_jobs(world.deps, tenant.id, ALL)
    slow = world.other_process(policy=Policy(bulk_rate=0.01, bulk_batch=2))
    seen: list[tuple[str, int, UUID | None]] = []
    while await step(slow.deps, slow.acceptor):
        row = await operation(world)
        seen.append((row.state, row.done, row.cursor))
        assert not await step(slow.deps, slow.acceptor), "it pauses between batches"
        await due(world)
    assert seen == [("running", 2, ids[1]), ("running", 4, ids[3]), ("done", 5, ids[4])]
    assert await retries(world) == ids
    wakes = [after for verb, after in world.queue.wakes if verb == "bulk"]
    assert wakes == [pytest.approx(0.1), 200.0, 200.0]


async def test_a_worker_that_takes_over_repeats_nothing(world: World):
    tenant = await world.tenant()
    ids = await ended(world, tenant, 4)
    await retry_jobs(world.deps, tenant.id, ALL)
    dead = await claimed(world)
    progress = await act(world.deps, world.acceptor, dead)  # and dies before it is noted
    assert progress == Progress(4, ids[-1], 0.1, finished=True)
    assert (await operation(world)).done == 0
    assert not await step(world.deps, world.acceptor), "it is leased"
    await due(world)
    await run_all(world)
    row = await operation(world)
    assert (row.state, row.done) == ("done", 4)
    assert await retries(world) == ids


@pytest.mark.parametrize("begin", [retry_jobs, cancel_jobs])
async def test_two_workers_with_the_same_batch_repeat_nothing(
    world: World, begin: Callable[..., Awaitable[Operation | DryRun]]
):
    tenant = await world.tenant()
    if begin is retry_jobs:
        ids = await ended(world, tenant, 10)
    else:
        ids = await world.accept(tenant, 10)
    await begin(world.deps, tenant.id, ALL)
    slow = await claimed(world)
    await due(world)
    quick = await claimed(world)
    other = world.other_process()
    await asyncio.gather(
        act(world.deps, world.acceptor, slow), act(other.deps, other.acceptor, quick)
    )
    if begin is retry_jobs:
        assert sorted(await retries(world)) == ids
    else:
        assert await world.event_types() == ["job.deleted"] * 10


async def test_a_stopped_operation_does_no_more(world: World):
    process = world.other_process(policy=Policy(bulk_batch=2))
    tenant = await world.tenant()
    await world.accept(tenant, 5)
    made = began(await cancel_jobs(world.deps, tenant.id, ALL))
    assert await step(process.deps, process.acceptor)
    await stop(world.deps, tenant.id, made.id)
    await due(world)
    assert not await step(world.deps, world.acceptor)
    row = await operation(world)
    assert (row.state, row.done) == ("stopped", 2)
    assert await world.states() == {"cancelled": 2, "accepted": 3}


@asynccontextmanager
async def in_the_middle_of(world: World, process: World) -> AsyncGenerator[None]:
    """A batch of cancellations is under way within the block, and ends after it."""
    async with world.deps.db.begin() as tx:
        await tx.rows("SELECT 1 FROM job ORDER BY id LIMIT 1 FOR UPDATE")
        stepping = await blocked(world.deps.db, step(process.deps, process.acceptor))
        yield
    assert await stepping


@pytest.mark.parametrize("count", [2, 5])
async def test_an_operation_stopped_in_the_middle_of_a_batch_counts_that_batch(
    world: World, count: int
):
    process = world.other_process(policy=Policy(bulk_batch=3))
    tenant = await world.tenant()
    await world.accept(tenant, count)
    made = began(await cancel_jobs(world.deps, tenant.id, ALL))
    world.queue.wakes.clear()
    async with in_the_middle_of(world, process):
        await stop(world.deps, tenant.id, made.id)
    row = await operation(world)
    done = min(count, 3)
    assert (row.id, row.state, row.done) == (made.id, "stopped", done)
    assert row.completed_at is not None
    ((outcome, told),) = world.seen("bulk")
    assert (outcome, told["rows"], told["done"], told["total"]) == ("stopped", done, done, count)
    assert ("bulk", 3 / world.deps.policy.bulk_rate) not in world.queue.wakes


async def test_a_batch_that_lost_its_lease_is_reported_as_lost(world: World):
    tenant = await world.tenant()
    await world.accept(tenant, 1)
    await cancel_jobs(world.deps, tenant.id, ALL)
    async with in_the_middle_of(world, world):
        await world.run("UPDATE bulk SET lease_token = gen_random_uuid()")
    assert [outcome for outcome, _ in world.seen("bulk")] == ["lost"]
    assert ((await operation(world)).state, (await operation(world)).done) == ("running", 0)


async def test_a_job_whose_input_is_gone_holds_up_no_other(world: World):
    tenant = await world.tenant(limits=Limits(keep_payloads=1))
    old, new = await ended(world, tenant, 2)
    await retry_jobs(world.deps, tenant.id, ALL)
    await world.run(
        "INSERT INTO prune_cursor (tenant_id, kind, cursor) VALUES ($1, 'payloads', $2)",
        tenant.id,
        old,
    )
    await run_all(world)
    assert await retries(world) == [new]
    assert ((await operation(world)).state, (await operation(world)).done) == ("done", 2)


# --- The queue is full ---------------------------------------------------------------------------


async def test_a_full_queue_is_waited_for_in_the_middle(world: World):
    tenant = await world.tenant(limits=Limits(max_queued=5))
    ids = await ended(world, tenant, 5)
    await world.accept(tenant, 3)
    await retry_jobs(world.deps, tenant.id, ALL)
    world.queue.wakes.clear()
    for done, cursor in ((2, ids[1]), (2, ids[1])):
        assert await step(world.deps, world.acceptor)
        row = await operation(world)
        assert (row.state, row.done, row.cursor) == ("running", done, cursor)
        assert not await step(world.deps, world.acceptor), "there is nothing to do for a while"
        assert ("bulk", 5.0) in world.queue.wakes
        await due(world)
    assert await retries(world) == ids[:2]
    while await world.submit():
        pass
    await run_all(world)
    row = await operation(world)
    assert (row.state, row.done) == ("done", 5)
    assert await retries(world) == ids


async def test_a_queue_that_is_full_from_the_start_is_waited_for(world: World):
    tenant = await world.tenant(limits=Limits(max_queued=1))
    ids = await ended(world, tenant, 1)
    await world.accept(tenant)
    await retry_jobs(world.deps, tenant.id, ALL)
    assert await step(world.deps, world.acceptor)
    row = await operation(world)
    assert (row.state, row.done, row.cursor) == ("running", 0, None)
    await world.submit()
    await due(world)
    await run_all(world)
    assert await retries(world) == ids


# --- What goes away in that moment --------------------------------------------------------------


async def test_a_job_that_is_deleted_before_its_turn_is_not_run_again(world: World):
    tenant = await world.tenant()
    first, second, third = await ended(world, tenant, 3)
    made = began(await retry_jobs(world.deps, tenant.id, ALL))
    key = f"bulk\x1f{made.id}\x1f{first}"
    hash_ = b"retry" + first.bytes
    async with world.deps.db.begin() as tx:
        # The first one's retry is being made by another process just now.
        again = new_job(tenant.id, idempotency_key=key, request_hash=hash_, retry_of=first)
        await jobs.insert(tx, [again])
        stepping = await blocked(world.deps.db, step(world.deps, world.acceptor))
        await delete_job(world.deps, tenant.id, second)
    assert await stepping
    assert sorted(await retries(world)) == [first, third]
    assert (await operation(world)).state == "done"


async def test_no_job_of_a_tenant_that_is_erased_meanwhile_is_retried(world: World):
    tenant = await world.tenant(credential=False)
    await ended(world, tenant, 2)
    made = began(await retry_jobs(world.deps, tenant.id, ALL))
    for table in ("bulk", "signing_secret", "tenant"):
        column = "id" if table == "tenant" else "tenant_id"
        await world.run(f"DELETE FROM {table} WHERE {column} = $1", tenant.id)
    assert (await act(world.deps, world.acceptor, made)).finished
    assert await retries(world) == []


async def test_the_filter_is_kept_as_it_was_asked(world: World):
    tenant = await world.tenant()
    await world.accept(tenant)
    wanted = JobFilter(None, workflows=("stems",), metadata=(("k", ("v",)),), names=("song",))
    await world.run("""UPDATE job SET metadata = '{"k":"v"}'""")
    made = began(await cancel_jobs(world.deps, tenant.id, wanted))
    kept = msgspec.json.decode(made.filter, type=JobFilter)
    assert (kept.tenants, kept.workflows, kept.names) == ((tenant.id,), ("stems",), ("song",))
    assert kept.metadata == (("k", ("v",)),)
    assert set(kept.states) == {"accepted", "submitting", "submitted", "running"}
