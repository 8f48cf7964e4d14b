"""The reasons why jobs wait, as the engine leaves them; `nextAttemptAt` is never in the past."""

from uuid import UUID

import pytest_asyncio

from gateway.core.model import JobState, Limits, Tenant
from gateway.core.waits_for import Wait, WaitCode
from gateway.flows.admin.tenants import suspend_tenant
from gateway.flows.health.heartbeat import Heart
from gateway.flows.read.timeline import timeline
from gateway.flows.settle.batched_reads import BatchedReads
from gateway.ports import Busy, Denied, Unknown, UpstreamProblem
from gateway.store.processes import Identity
from tests.flows.world import World

DENIED = Denied(401, UpstreamProblem("UNAUTHORIZED", "No", "The key was revoked."))


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def worker(world: World) -> None:
    """A worker that lives."""
    who = Identity(world.deps.ids.uuid(), "worker", "host", 1, "1")
    assert await Heart(world.deps, who).beat()


async def wait_of(world: World, tenant: Tenant, job_id: UUID) -> Wait | None:
    reads = BatchedReads(world.deps)
    job = await reads.job(tenant.id, job_id)
    assert job is not None
    place = await reads.ahead(job) if job.state is JobState.ACCEPTED else None
    wait = await reads.wait(job, place)
    last = (await timeline(world.deps, tenant.id, job_id))[-1]
    assert (last.text if wait else "") == (wait.message if wait else "")
    if wait:
        assert last.type == "waiting"
        assert last.detail["code"] == wait.code
    return wait


async def code_of(world: World, tenant: Tenant, job_id: UUID) -> WaitCode | None:
    wait = await wait_of(world, tenant, job_id)
    return wait and wait.code


async def test_jobs_wait_for_their_turn(world: World):
    tenant = await world.tenant()
    ids = await world.accept(tenant, 3)
    found = [await wait_of(world, tenant, job_id) for job_id in ids]
    assert [one and (one.code, one.position) for one in found] == [
        (WaitCode.TURN, 0),
        (WaitCode.TURN, 1),
        (WaitCode.TURN, 2),
    ]


async def test_without_a_worker_nothing_goes_on(world: World):
    tenant = await world.tenant()
    waiting = await world.accept_one(tenant)
    await world.run("UPDATE process SET seen_at = '2026-11-30T02:51:07Z'")
    wait = await wait_of(world, tenant, waiting)
    assert wait is not None
    assert (wait.code, "since 2026-11-30 02:51:07" in wait.message) == (WaitCode.NO_WORKER, True)
    await world.run("UPDATE process SET seen_at = now(), stopped_at = now()")
    assert await code_of(world, tenant, waiting) is WaitCode.NO_WORKER


async def test_a_cap_and_a_suspension(world: World):
    tenant = await world.tenant(limits=Limits(max_in_flight=1))
    (here,) = await world.at_upstream(tenant)
    first, second = await world.accept(tenant, 2)
    assert await code_of(world, tenant, here) is WaitCode.UPSTREAM_QUEUED
    waits = [await wait_of(world, tenant, one) for one in (first, second)]
    assert [one and (one.code, one.position) for one in waits] == [
        (WaitCode.IN_FLIGHT_CAP, 0),
        (WaitCode.IN_FLIGHT_CAP, 1),
    ]
    await suspend_tenant(world.deps, "test", "acme", suspended=True)
    assert await code_of(world, tenant, first) is WaitCode.TENANT_SUSPENDED


async def test_a_tenant_without_credential(world: World):
    tenant = await world.tenant(credential=False)
    assert await code_of(world, tenant, await world.accept_one(tenant)) is (
        WaitCode.CREDENTIAL_MISSING
    )


async def test_a_revoked_credential_holds_all_until_its_own_time(world: World):
    tenant = await world.tenant()
    (there,) = await world.at_upstream(tenant)
    tried, other = await world.accept(tenant, 2)
    world.upstream.will("submit", DENIED, DENIED)
    await world.submit()
    until = await world.value("SELECT paused_until FROM credential")
    for job_id in (tried, other, there):
        wait = await wait_of(world, tenant, job_id)
        assert wait is not None
        assert (wait.code, wait.until) == (WaitCode.CREDENTIAL_REJECTED, until)
        assert "HTTP 401: The key was revoked" in wait.message
    await world.credential("acme", "a new one")
    assert await code_of(world, tenant, other) is WaitCode.TURN
    assert await code_of(world, tenant, there) is WaitCode.UPSTREAM_QUEUED, "asked with the new one"


async def test_a_busy_upstream_and_an_open_circuit_breaker(world: World):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    world.upstream.will("submit", Busy("answer 429", retry_after=60.0))
    await world.submit()
    wait = await wait_of(world, tenant, job_id)
    assert wait is not None
    assert (wait.code, "answer 429" in wait.message) == (WaitCode.UPSTREAM_BUSY, True)
    assert wait.until is not None
    await world.run("UPDATE credential SET failures = 5")
    assert await code_of(world, tenant, job_id) is WaitCode.CIRCUIT_OPEN


async def test_a_submit_in_doubt_and_a_job_that_runs(world: World):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    world.upstream.will("submit", Unknown("timeout"))
    await world.submit()
    await world.run("UPDATE credential SET paused_until = NULL")
    assert await code_of(world, tenant, job_id) is WaitCode.LOOKUP
    (runs,) = await world.at_upstream(tenant)
    world.upstream.move("STARTED")
    await world.poll_soon()
    assert (await world.job(runs)).state == "running"
    assert await code_of(world, tenant, runs) is None


async def test_a_job_that_has_ended_waits_for_nothing(world: World):
    tenant = await world.tenant()
    (job_id,) = await world.ended(tenant)
    assert await code_of(world, tenant, job_id) is None


async def test_the_next_attempt_is_never_in_the_past(world: World):
    tenant = await world.tenant()
    due, later = await world.accept(tenant, 2)
    await world.run("UPDATE job SET next_at = now() + interval '1 hour' WHERE id = $1", later)
    (there,) = await world.at_upstream(await world.tenant("other"))
    async with world.deps.db.single() as tx:
        now = (await tx.one("SELECT now()"))[0]
    reads = BatchedReads(world.deps)
    job = await reads.job(tenant.id, later)
    assert job is not None
    assert job.next_at is not None
    assert job.next_at > now
    for owner, job_id in ((tenant, due),):
        found = await reads.job(owner.id, job_id)
        assert found is not None
        assert found.next_at is None
    row = await world.job(there)
    found = await reads.job(row.tenant_id, there)
    assert found is not None
    assert found.next_at is None
