"""Submit: every answer of the upstream has its consequence, and no job goes out twice."""

import asyncio
import json
from uuid import UUID

from gateway.core.crypto.cipher import Secret
from gateway.core.model import Limits
from gateway.flows.admin.tenants import put_credential, suspend_tenant
from gateway.flows.upstream.delete_job import delete_job, delete_upstream
from gateway.ports import Access, Denied, Refused, Unknown, UpstreamProblem
from tests.flows.fakes import PROBLEM, Gate
from tests.flows.world import CALLBACK, HOOK, World

DENIED = Denied(401, UpstreamProblem("UNAUTHORIZED", "Unauthorized", "Invalid API key."))


# --- what is sent, and when it is taken ------------------------------------------------------------


async def test_a_taken_job_is_submitted_and_will_be_polled(world: World):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    world.queue.wakes.clear()
    assert await world.submit() == 1
    job = await world.job(job_id)
    assert (job.state, job.submit_attempts, job.lease_token) == ("submitted", 1, None)
    assert job.upstream_id == world.upstream.jobs[0].upstream_id
    assert job.submitted_at is not None
    assert world.queue.wakes == [("poll", 0.25)]
    assert 0 < (await world.health()).poll_in <= 0.25
    assert await world.notes(job_id) == []
    assert await world.submit() == 0


async def test_the_upstream_is_given_the_whole_job_with_its_marker_and_the_tenants_key(
    world: World,
):
    tenant = await world.tenant(credential=False)
    eu = "https://eu.upstream.invalid"
    await put_credential(world.deps, "test", "acme", api_key=Secret("the-key"), base_url=eu)
    job_id = await world.accept_one(
        tenant, metadata='{"a": {"b": [1, "ü"]}}', copy_results_to='{"url":"https://put"}'
    )
    await world.submit()
    (access, sent), *_ = world.upstream.sent
    credential = await world.health()
    assert access == Access(credential.id, eu, Secret("the-key"))
    assert (sent.name, sent.workflow) == ("song", "stems")
    assert sent.params == '{"inputUrl":"https://media.example.com/a.wav"}'
    assert sent.copy_results_to == '{"url":"https://put"}'
    assert json.loads(sent.metadata) == {"a": {"b": [1, "ü"]}, "gatewayJobId": str(job_id)}
    assert (await world.job(job_id)).metadata == '{"a": {"b": [1, "ü"]}}'


async def test_each_tenants_jobs_go_out_with_its_own_key(world: World):
    for slug in ("acme", "other"):
        await world.accept(await world.tenant(slug), 3, name=slug)
    assert await world.submit() == 6
    assert {(sent.name, access.key.value) for access, sent in world.upstream.sent} == {
        ("acme", "key-of-acme"),
        ("other", "key-of-other"),
    }


async def test_a_tenant_without_credential_and_a_suspended_one_wait(world: World):
    bare, held = await world.tenant("bare", credential=False), await world.tenant("held")
    await world.accept(bare)
    await world.accept(held)
    await suspend_tenant(world.deps, "test", "held", suspended=True)
    assert await world.submit() == 0
    await suspend_tenant(world.deps, "test", "held", suspended=False)
    assert await world.submit() == 1
    assert await world.states() == {"accepted": 1, "submitted": 1}


async def test_a_tenant_has_no_more_jobs_upstream_than_it_may(world: World):
    tenant = await world.tenant(limits=Limits(max_in_flight=3))
    await world.accept(tenant, 5)
    assert await world.submit() == 3
    assert await world.submit() == 0
    world.upstream.move("SUCCEEDED", world.upstream.jobs[0].upstream_id)
    await world.poll_again()
    assert await world.submit() == 1


async def test_a_long_queue_delays_no_other_tenant(world: World):
    big, small = await world.tenant("big"), await world.tenant("small")
    await world.accept(big, 300)
    job_id = await world.accept_one(small)
    assert await world.submit(60) == 31, "half of the room, and one"
    assert (await world.job(job_id)).state == "submitted"


async def test_urgent_jobs_go_first_then_the_oldest(world: World):
    tenant = await world.tenant()
    first, second = await world.accept_one(tenant), await world.accept_one(tenant)
    urgent = await world.accept_one(tenant, priority=5)
    for _ in range(3):
        await world.submit(1)
    sent = [UUID(json.loads(one.metadata)["gatewayJobId"]) for _, one in world.upstream.sent]
    assert sent == [urgent, first, second]


# --- refused ---------------------------------------------------------------------------------------


async def test_a_refused_job_fails_with_the_upstreams_own_reason(world: World):
    tenant = await world.tenant(hook=HOOK)
    job_id = await world.accept_one(tenant, callback_url=CALLBACK)
    world.queue.wakes.clear()
    world.upstream.will("submit", Refused(400, PROBLEM))
    await world.submit()
    job = await world.job(job_id)
    assert (job.state, job.completed_at is not None) == ("failed", True)
    assert json.loads(job.error) == {
        "code": "BAD_INPUT",
        "title": "Invalid input",
        "message": "File not found.",
        "origin": "caller",
        "retryable": False,
    }
    assert await world.event_types(job_id) == ["job.failed"]
    assert len(await world.deliveries()) == 2
    assert world.queue.wakes == [("deliver", 0.0)]
    outcome, fields = world.seen("submit")[0]
    assert (outcome, fields["reason"]) == ("refused", "BAD_INPUT: File not found.")
    assert (await world.health()).failures == 0


# --- in doubt --------------------------------------------------------------------------------------


async def test_an_unclear_answer_leaves_a_job_in_doubt_and_never_repeats_it_blindly(world: World):
    job_id = await world.accept_one(await world.tenant())
    world.queue.wakes.clear()
    world.upstream.will("submit", Unknown("timeout"))
    await world.submit()
    job = await world.job(job_id)
    assert (job.state, job.lookups, job.lease_token) == ("submitting", 0, None)
    assert 1 < job.due_in <= 2
    assert await world.notes(job_id) == ["submit.in_doubt"]
    assert world.queue.wakes == [("submit", 2.0)]
    await world.pass_time(100)
    assert await world.submit() == 0
    assert world.seen("submit")[0] == ("unknown", world.seen("submit")[0][1])
    assert world.seen("submit")[0][1]["reason"] == "timeout"


def last_moment(world: World) -> float:
    """How long after a claim a request may still begin."""
    return world.deps.policy.lease - world.deps.policy.lease_margin


async def test_a_late_process_does_not_send(world: World):
    job_id = await world.accept_one(await world.tenant())
    assert await world.submitter.claim(10) == 1
    world.clock.advance(last_moment(world) + 0.1)
    await world.idle()
    assert world.upstream.sent == []
    assert (await world.job(job_id)).state == "submitting"
    assert "lease" in str(world.seen("submit")[0][1]["reason"])


async def test_a_process_in_time_sends(world: World):
    await world.accept(await world.tenant())
    await world.submitter.claim(10)
    world.clock.advance(last_moment(world) - 0.1)
    await world.idle()
    assert len(world.upstream.sent) == 1


async def held_submit(world: World, gate: str) -> tuple[UUID, Gate]:
    """A job whose submit hangs: before the upstream took it, or (`answer`) after."""
    job_id = await world.accept_one(await world.tenant())
    world.upstream.gates[gate] = held = Gate()
    await world.submitter.claim(10)
    await held.came.wait()
    world.upstream.gates.clear()
    return job_id, held


async def test_a_late_answer_changes_nothing_once_the_job_was_found(world: World):
    job_id, held = await held_submit(world, "answer")
    await world.pass_time(31)
    assert await world.look_up_beside() == 1
    before = await world.job(job_id)
    assert before.state == "submitted"
    held.open.set()
    await world.idle()
    after = await world.job(job_id)
    assert (after.version, after.upstream_id) == (before.version, before.upstream_id)
    assert len(world.upstream.marked(job_id)) == 1


async def test_a_late_refusal_does_not_end_a_job_that_somebody_else_holds(world: World):
    job_id, held = await held_submit(world, "submit")
    world.upstream.will("submit", Refused(400, PROBLEM))
    await world.pass_time(31)
    await world.run("UPDATE job SET lease_token = gen_random_uuid()")
    held.open.set()
    await world.idle()
    assert (await world.job(job_id)).state == "submitting"
    assert await world.events() == []


# --- deleted meanwhile -----------------------------------------------------------------------------


async def test_a_job_deleted_while_it_is_submitted_is_deleted_upstream_too(world: World):
    job_id, held = await held_submit(world, "answer")
    tenant_id = (await world.job(job_id)).tenant_id
    await delete_job(world.deps, tenant_id, job_id)
    held.open.set()
    await world.idle()
    assert (await world.job(job_id)).state == "cancelled"
    assert await delete_upstream(world.deps) == 1
    assert world.upstream.jobs == []
    assert (await world.job(job_id)).upstream_delete_at is None


async def test_two_processes_never_submit_one_job(world: World):
    await world.accept(await world.tenant(), 200)
    second = world.other_process()
    while sum(await asyncio.gather(world.submitter.claim(20), second.submitter.claim(20))):
        pass
    await world.idle()
    assert await world.states() == {"submitted": 200}
    assert len({job.marker for job in world.upstream.jobs}) == len(world.upstream.jobs) == 200
    assert {outcome for outcome, _ in world.seen("submit")} == {"submitted"}
