"""The webhooks of one job, with everything that was tried."""

from gateway.flows.read.deliveries import webhooks_of_job
from tests.flows.world import HOOK, World


async def test_a_job_has_its_webhooks_with_their_attempts(world: World):
    tenant = await world.tenant()
    await world.endpoint(tenant, HOOK)
    [job_id] = await world.ended(tenant)
    assert [attempts for _, attempts in await webhooks_of_job(world.deps, tenant.id, job_id)] == [
        []
    ]
    await world.deliver_all()
    [(delivery, attempts)] = await webhooks_of_job(world.deps, tenant.id, job_id)
    assert delivery.job_id == job_id
    assert [attempt.number for attempt in attempts] == [1]


async def test_another_tenant_sees_none(world: World):
    tenant, other = await world.tenant(), await world.tenant("other")
    await world.endpoint(tenant, HOOK)
    [job_id] = await world.ended(tenant)
    assert await webhooks_of_job(world.deps, other.id, job_id) == []
