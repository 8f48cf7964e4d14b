"""Retry: a new job like one that has ended."""

from dataclasses import fields
from uuid import UUID, uuid4

import pytest

from gateway.core.lifecycle import Finish, cancelled, error_of, expired
from gateway.core.model import TERMINAL, JobState, NewJob, Tenant
from gateway.errors import Conflict, IdempotencyKeyReused, NotFound
from gateway.flows.accept.acceptor import Order
from gateway.flows.accept.idempotency import Accepted
from gateway.flows.accept.retry_job import job_again
from gateway.flows.maintain.prune import prune_now
from gateway.flows.settle.settlement import ending, settle
from gateway.flows.upstream.delete_job import delete_job
from tests.flows.world import CALLBACK, HOOK, World

ENDS = {
    JobState.SUCCEEDED: Finish(JobState.SUCCEEDED, result='{"r":1}'),
    JobState.FAILED: Finish(JobState.FAILED, error=error_of("BAD_INPUT", "Bad", "It is bad.")),
    JobState.CANCELLED: cancelled(),
    JobState.EXPIRED: expired(),
}
GIVEN: dict[str, object] = {
    "name": "a song",
    "workflow": "stems",
    "params": '{ "inputUrl": "https://a.example/x.wav", "n": 1.50 }',
    "metadata": '{"order": "7"}',
    "copy_results_to": '{"out":"https://b.example"}',
    "batch_name": "monday",
    "callback_url": CALLBACK,
    "priority": 3,
    "deadline_seconds": 1234.5,
}


async def end(world: World, job_id: UUID, finish: Finish = ENDS[JobState.FAILED]) -> None:
    async with world.deps.db.begin() as tx:
        await settle(tx, world.deps, [ending(job_id, finish)])


async def retry(world: World, tenant: Tenant, job_id: UUID, key: str | None = None) -> Accepted:
    job = await job_again(world.deps, tenant.id, job_id, idempotency_key=key)
    return await world.acceptor.accept(Order(job, 1000))


def test_every_kind_of_end_is_tried():
    assert ENDS.keys() == TERMINAL


@pytest.mark.parametrize("state", ENDS)
async def test_an_ended_job_is_run_again_as_it_was(world: World, state: JobState):
    tenant = await world.tenant(hook=HOOK)
    job_id = await world.accept_one(tenant, **GIVEN)
    await end(world, job_id, ENDS[state])
    before = await world.job(job_id)
    again = await retry(world, tenant, job_id)
    assert not again.replayed
    job = await world.job(again.id)
    for name in ("name", "workflow", "params", "metadata", "copy_results_to", "batch_name"):
        assert job[name] == before[name] is not None, name
    assert (job.callback_url, job.priority, job.retry_of) == (CALLBACK, 3, job_id)
    assert (job.state, job.result, job.error, job.version) == ("accepted", None, None, 1)
    assert (job.deadline_at - job.created_at).total_seconds() == 1234.5
    after = await world.job(job_id)
    assert (after.state, after.version) == (state.value, before.version)
    await world.submit()
    await world.pass_time(1)
    world.upstream.move("SUCCEEDED")
    await world.poll_soon()
    assert (await world.job(again.id)).state == "succeeded"


async def test_what_a_new_job_is_made_of_is_all_taken_over(world: World):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant, **GIVEN)
    await end(world, job_id)
    again = await job_again(world.deps, tenant.id, job_id)
    new = {"id", "tenant_id", "idempotency_key", "request_hash", "retry_of", "traceparent"}
    assert {one.name for one in fields(NewJob)} == new | GIVEN.keys()
    for name in GIVEN.keys() - {"metadata"}:  # which is stored as jsonb
        assert getattr(again, name) == GIVEN[name], name
    assert (again.idempotency_key, again.request_hash) == (None, None)


async def test_a_retry_can_be_retried(world: World):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    await end(world, job_id)
    second = (await retry(world, tenant, job_id)).id
    with pytest.raises(Conflict):
        await job_again(world.deps, tenant.id, second)
    await end(world, second)
    third = (await retry(world, tenant, second)).id
    assert (await world.job(third)).retry_of == second
    assert (await retry(world, tenant, job_id)).id not in (job_id, second, third)


@pytest.mark.parametrize("state", [s for s in JobState if s not in TERMINAL])
async def test_an_open_job_is_not_run_twice(world: World, state: JobState):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    await world.run("UPDATE job SET state = $1", state.value)
    with pytest.raises(Conflict, match="has not ended yet"):
        await job_again(world.deps, tenant.id, job_id)


async def test_nobody_retries_what_is_not_there_or_not_theirs(world: World):
    tenant, other = await world.tenant(), await world.tenant("other")
    job_id = await world.accept_one(tenant)
    await end(world, job_id)
    for whose, which in ((other, job_id), (tenant, uuid4())):
        with pytest.raises(NotFound):
            await job_again(world.deps, whose.id, which)
    await delete_job(world.deps, tenant.id, job_id)
    with pytest.raises(NotFound):
        await job_again(world.deps, tenant.id, job_id)


async def test_a_key_makes_one_retry_of_one_job(world: World):
    tenant = await world.tenant()
    one, other = await world.accept(tenant, 2)
    for job_id in (one, other):
        await end(world, job_id)
    first = await retry(world, tenant, one, "k")
    replayed = await retry(world, tenant, one, "k")
    assert (replayed.id, replayed.replayed) == (first.id, True)
    with pytest.raises(IdempotencyKeyReused):
        await retry(world, tenant, other, "k")
    with pytest.raises(IdempotencyKeyReused):
        await world.acceptor.accept(world.order(tenant, idempotency_key="k", request_hash=b"x"))
    assert await world.states() == {"failed": 2, "accepted": 1}


async def test_a_job_whose_input_is_gone_cannot_be_run_again(world: World):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    await end(world, job_id)
    await world.run("UPDATE tenant SET keep_payloads = 1")
    world.clock.ahead = 2 * 86_400.0
    await prune_now(world.deps)
    assert (await world.job(job_id)).params == "{}"
    with pytest.raises(Conflict):
        await job_again(world.deps, tenant.id, job_id)
