"""Delete: gone for the tenant at once, and upstream as soon as that can be reached."""

import asyncio
import json
from uuid import UUID, uuid4

import pytest

from gateway.core.crypto.cipher import Cipher
from gateway.core.lifecycle import Finish
from gateway.core.model import JobState
from gateway.errors import NotFound
from gateway.flows.admin.tenants import delete_tenant
from gateway.flows.settle.settlement import ending, settle
from gateway.flows.upstream.delete_job import delete_job, delete_upstream
from gateway.ports import Absent, Busy, Denied, Unknown, UpstreamProblem
from gateway.store.work import jobs
from tests.flows.fakes import Took
from tests.flows.world import CALLBACK, HOOK, World


async def test_a_waiting_job_is_cancelled_and_never_submitted(world: World):
    tenant = await world.tenant(hook=HOOK)
    job_id = await world.accept_one(tenant)
    world.queue.wakes.clear()
    await delete_job(world.deps, tenant.id, job_id)
    job = await world.job(job_id)
    assert (job.state, json.loads(job.error)["code"]) == ("cancelled", "CANCELLED")
    assert (job.params, job.result, job.deleted_at is not None) == ("{}", None, True)
    assert await world.event_types() == ["job.deleted"]
    assert world.queue.wakes == [("deliver", 0.0)]
    assert await world.submit() == 0
    async with world.deps.db.single() as tx:
        assert await jobs.find(tx, tenant.id, job_id) is None
    assert await delete_upstream(world.deps) == 0


async def test_a_job_at_the_upstream_is_deleted_there_too(world: World):
    tenant = await world.tenant()
    (job_id,) = await world.at_upstream(tenant)
    await delete_job(world.deps, tenant.id, job_id)
    assert world.upstream.jobs == []
    job = await world.job(job_id)
    assert (job.state, job.upstream_delete_at) == ("cancelled", None)


async def test_an_ended_job_stays_ended_and_its_deletion_is_news(world: World):
    tenant = await world.tenant(hook=HOOK)
    (job_id,) = await world.ended(tenant, callback_url=CALLBACK)
    await delete_job(world.deps, tenant.id, job_id)
    job = await world.job(job_id)
    assert (job.state, job.result) == ("succeeded", None)
    assert await world.event_types() == ["job.succeeded", "job.deleted"]
    owed = [row.url for row in await world.deliveries() if row.type == "job.deleted"]
    assert len(owed) == 2
    assert CALLBACK in owed
    assert len(world.upstream.gone) == 1
    assert await world.value("SELECT sum(jobs)::int FROM usage_hourly") == 1


async def test_nobody_deletes_what_is_not_there_or_not_theirs(world: World):
    tenant, other = await world.tenant(), await world.tenant("other")
    job_id = await world.accept_one(tenant)
    for tenant_id, wanted in ((tenant.id, uuid4()), (other.id, job_id)):
        with pytest.raises(NotFound):
            await delete_job(world.deps, tenant_id, wanted)
    assert (await world.job(job_id)).state == "accepted"
    await delete_job(world.deps, tenant.id, job_id)
    with pytest.raises(NotFound):
        await delete_job(world.deps, tenant.id, job_id)
    assert await world.event_types() == ["job.deleted"]


async def test_a_job_that_ends_while_it_is_deleted_ends_once(world: World):
    tenant = await world.tenant(hook=HOOK)
    (job_id,) = await world.at_upstream(tenant)
    done = ending(job_id, Finish(JobState.SUCCEEDED, result="{}"))
    async with world.deps.db.begin() as tx:
        await settle(tx, world.deps, [done])
        deleting = asyncio.create_task(delete_job(world.deps, tenant.id, job_id))
        while not await tx.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await deleting
    assert (await world.job(job_id)).state == "succeeded"
    assert await world.event_types() == ["job.succeeded", "job.deleted"]
    last = json.loads((await world.events())[-1].body)["data"]
    assert last["status"] == "SUCCEEDED", "the event shows the job as it was deleted"


@pytest.mark.parametrize(
    "trouble",
    [
        Busy("busy"),
        Unknown("timeout"),
        Denied(401, UpstreamProblem("UNAUTHORIZED", "Unauthorized", "No.")),
    ],
)
async def test_what_the_upstream_was_not_told_is_tried_again_every_minute(
    world: World, trouble: object
):
    tenant = await world.tenant()
    (job_id,) = await world.at_upstream(tenant)
    world.upstream.will("delete", trouble)
    await delete_job(world.deps, tenant.id, job_id)
    assert await delete_upstream(world.deps) == 0, "it is not tried again at once"
    assert len(world.upstream.jobs) == 1
    await world.pass_time(61)
    assert await delete_upstream(world.deps) == 1
    assert world.upstream.jobs == []
    await world.pass_time(61)
    assert await delete_upstream(world.deps) == 0


async def test_what_is_gone_upstream_needs_nothing_more(world: World):
    tenant = await world.tenant()
    (job_id,) = await world.at_upstream(tenant)
    world.upstream.will("delete", Absent())
    await delete_job(world.deps, tenant.id, job_id)
    assert (await world.job(job_id)).upstream_delete_at is None


async def test_a_credential_that_cannot_be_opened_is_waited_for(world: World):
    tenant = await world.tenant()
    (job_id,) = await world.at_upstream(tenant)
    blind = world.other_process(cipher=Cipher([b"x" * 32]))
    await delete_job(blind.deps, tenant.id, job_id)
    assert world.upstream.count("delete") == 0
    await world.pass_time(61)
    assert await delete_upstream(world.deps) == 1


async def test_without_its_credential_there_is_nobody_to_tell(world: World):
    tenant = await world.tenant()
    (job_id,) = await world.at_upstream(tenant)
    await world.run("UPDATE job SET upstream_delete_at = now(), credential_id = gen_random_uuid()")
    assert await delete_upstream(world.deps) == 1
    assert world.upstream.count("delete") == 0
    assert (await world.job(job_id)).upstream_delete_at is None
    await delete_tenant(world.deps, "test", "acme")
    assert await delete_upstream(world.deps) == 0


async def unclear_and_deleted(world: World, answer: object) -> UUID:
    job_id = await world.accept_one(await world.tenant())
    world.upstream.will("submit", answer)
    await world.submit()
    await delete_job(world.deps, (await world.job(job_id)).tenant_id, job_id)
    assert await delete_upstream(world.deps) == 0
    await world.pass_time(31)
    return job_id


async def test_a_job_deleted_in_doubt_is_looked_for_upstream_and_deleted(world: World):
    await unclear_and_deleted(world, Took(Unknown("reset")))
    assert await delete_upstream(world.deps) == 1
    assert len(world.upstream.gone) == 1
    assert world.upstream.jobs == []


async def test_a_job_deleted_in_doubt_that_is_not_upstream_needs_nothing_more(world: World):
    job_id = await unclear_and_deleted(world, Unknown("reset"))
    assert await delete_upstream(world.deps) == 1
    assert world.upstream.gone == []
    assert (await world.job(job_id)).upstream_delete_at is None


async def test_a_job_deleted_in_doubt_is_looked_for_until_the_list_can_be_read(world: World):
    await unclear_and_deleted(world, Took(Unknown("reset")))
    world.upstream.will("page", Busy("busy"))
    assert await delete_upstream(world.deps) == 0
    assert await delete_upstream(world.deps) == 0
    await world.pass_time(61)
    assert await delete_upstream(world.deps) == 1
    assert world.upstream.jobs == []
