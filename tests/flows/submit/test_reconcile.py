"""Doubt: an unclear submit is looked up upstream, and repeated only after two misses."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.core.crypto.cipher import Cipher
from gateway.flows.admin.tenants import delete_tenant
from gateway.flows.process.slots import Slots
from gateway.flows.read.timeline import timeline
from gateway.flows.submit import reconcile
from gateway.flows.submit.reconcile import Reconciler
from gateway.ports import Busy, Denied, Unknown, UpstreamProblem
from tests.flows.fakes import UNREADABLE, Gate, Held, upstream_jobs
from tests.flows.scenes import in_doubt
from tests.flows.world import HOOK, World

DENIED = Denied(401, UpstreamProblem("UNAUTHORIZED", "Unauthorized", "Invalid API key."))


async def told(world: World, job_id: UUID) -> list[str]:
    """What the timeline tells of looks."""
    moments = await timeline(world.deps, (await world.job(job_id)).tenant_id, job_id)
    return [moment.text for moment in moments if moment.type == "submit.looked_up"]


async def test_a_job_that_the_upstream_took_is_adopted(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    assert await world.look_up() == 1
    job = await world.job(job_id)
    (theirs,) = world.upstream.marked(job_id)
    assert (job.state, job.upstream_id) == ("submitted", theirs.upstream_id)
    assert (job.submit_attempts, job.lease_token) == (1, None)
    assert world.queue.wakes == [("poll", 0.25)]
    assert (await world.health()).poll_in <= 0.25
    outcome, fields = world.seen("lookup")[0]
    assert (outcome, fields["jobs"], fields["found"]) == ("complete", 1, 1)
    assert await world.submit() == 0


async def test_a_job_that_is_not_there_is_sent_again_only_after_two_misses(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=False)
    await world.look_up()
    job = await world.job(job_id)
    assert (job.state, job.lookups) == ("submitting", 1)
    assert 1 < job.due_in <= 2
    assert world.queue.wakes == [("submit", 0.25), ("submit", 2.0)]
    assert (await world.look_up(), await world.submit()) == (0, 0)
    await world.pass_time(2)
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state == "accepted"
    looked = ["submit.looked_up"] * 2
    assert await world.notes(job_id) == ["submit.in_doubt", *looked, "submit.repeated"]
    assert await told(world, job_id) == [
        "The upstream's list does not show the job at look 1 of 2, by 1 call.",
        "The upstream's list does not show the job at look 2 of 2, by 1 call.",
    ]
    assert await world.submit() == 1
    assert (await world.job(job_id)).submit_attempts == 2
    assert len(world.upstream.marked(job_id)) == 1


async def test_a_list_that_lags_is_given_a_second_look(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    world.upstream.will("page", [])
    await world.look_up()
    await world.pass_time(2)
    await world.look_up()
    assert (await world.job(job_id)).state == "submitted"
    assert len(world.upstream.marked(job_id)) == 1


async def test_a_job_whose_process_died_is_looked_up_once_its_lease_is_over(world: World):
    job_id = await world.accept_one(await world.tenant())
    world.upstream.gates["answer"] = held = Gate()
    await world.submitter.claim(10)
    await held.came.wait()
    await world.deps.slots.drain(0)
    world.upstream.gates.clear()
    survivor = world.other_process(slots=Slots(world.clock))
    await survivor.pass_time(25)
    assert await survivor.look_up() == 0
    await survivor.pass_time(2)
    assert await survivor.look_up() == 1
    assert (await world.job(job_id)).state == "submitted"
    assert len(world.upstream.marked(job_id)) == 1


async def test_one_lookup_serves_all_jobs_of_a_credential(world: World):
    acme, other = await world.tenant(), await world.tenant("other")
    await in_doubt(world, acme, 20, taken=True)
    await in_doubt(world, other, 5, taken=True)
    assert await world.look_up() == 25
    assert world.upstream.count("page") == 2
    assert await world.states() == {"submitted": 25}
    (job,) = await world.rows("SELECT id FROM job WHERE tenant_id = $1 LIMIT 1", acme.id)
    text = "The upstream has the job: found at look 1, by 1 call, which served 20 jobs."
    assert await told(world, job.id) == [text]


async def test_found_and_missing_jobs_of_one_lookup_go_their_own_ways(world: World):
    tenant = await world.tenant()
    (found,) = await in_doubt(world, tenant, taken=True)
    (missing,) = await in_doubt(world, tenant, taken=False)
    assert await world.look_up() == 2
    assert (await world.job(found)).state == "submitted"
    assert (await world.job(missing)).lookups == 1
    assert world.queue.wakes == [("poll", 0.25), ("submit", 2.0)]


# --- lookups that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [UNREADABLE, Unknown("timeout"), Busy("refused")])
async def test_a_list_that_cannot_be_read_proves_nothing_and_rests_the_credential(
    world: World, trouble: object
):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=False)
    world.upstream.will("page", trouble)
    before = (await world.health()).failures
    await world.look_up()
    job, health = await world.job(job_id), await world.health()
    assert (job.state, job.lookups, job.lease_token) == ("submitting", 0, None)
    assert health.failures == before + 1
    assert job.due_in > 0
    assert health.rest > 0
    assert await world.look_up() == 0
    await world.pass_time(120)
    assert await world.look_up() == 1


async def test_what_was_found_before_the_list_broke_off_is_kept(world: World):
    tenant = await world.tenant()
    (found,) = await in_doubt(world, tenant, taken=True)
    (missing,) = await in_doubt(world, tenant, taken=False)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    page = [*upstream_jobs(99, start=soon, step=-0.001), *world.upstream.jobs]
    world.upstream.will("page", page, Busy("busy", retry_after=7.0))
    await world.look_up()
    assert (await world.job(found)).state == "submitted"
    job = await world.job(missing)
    assert (job.state, job.lookups) == ("submitting", 0)
    assert 6 < job.due_in <= 7


async def test_a_credential_that_is_not_honoured_in_a_lookup_is_parked(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(hook=HOOK), taken=True)
    world.upstream.will("page", DENIED)
    await world.look_up()
    assert (await world.health()).rejected_at is not None
    assert await world.event_types() == ["credential.rejected"]
    assert await world.look_up() == 0
    await world.pass_time(301)
    await world.look_up()
    assert (await world.job(job_id)).state == "submitted"
    assert (await world.health()).rejected_at is None


async def test_a_credential_that_cannot_be_opened_leaves_its_jobs_in_doubt(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    elsewhere = world.other_process(cipher=Cipher([b"x" * 32]))
    await elsewhere.look_up()
    assert world.upstream.count("page") == 0
    assert (await world.job(job_id)).state == "submitting"
    health = await world.health()
    assert (health.rejected_at, await world.events()) == (None, [])
    assert 4 < health.rest <= 5
    await world.pass_time(6)
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state == "submitted"


async def test_a_tenant_that_was_erased_meanwhile_is_nobodys_error(world: World):
    await in_doubt(world, await world.tenant(), taken=True)
    slots = Held(world.clock)
    elsewhere = world.other_process(slots=slots)
    assert await Reconciler(elsewhere.deps).claim() == 1
    await delete_tenant(world.deps, "test", "acme")
    slots.let_go("submit")
    await elsewhere.idle()
    assert world.seen("lookup") == []
    assert world.upstream.count("page") == 0


# --- long lists ------------------------------------------------------------------------------------


async def test_jobs_that_fall_due_during_a_lookup_wait_for_the_next_one(world: World):
    """A list that was read before their submit was over does not tell of them."""
    tenant = await world.tenant()
    (first,) = await in_doubt(world, tenant, taken=False)
    world.upstream.gates["page"] = held = Gate()
    assert await world.reconciler.claim() == 1
    await held.came.wait()
    world.upstream.gates.clear()
    (later,) = await in_doubt(world.other_process(slots=Slots(world.clock)), tenant, taken=False)
    assert await world.reconciler.claim() == 1, "claimed while the list is being read"
    await world.deps.slots.wait_for_slot(5)
    assert (await world.job(later)).lookups == 0
    assert (await world.job(later)).due_in > 0.5
    held.open.set()
    await world.idle()
    assert (await world.job(first)).lookups == 1
    assert world.upstream.count("page") == 1
    await world.pass_time(2)
    assert await world.look_up() == 2
    assert [(await world.job(id_)).lookups for id_ in (later,)] == [1]


async def test_of_more_jobs_than_one_claim_takes_all_are_served_by_one_lookup(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reconcile, "_CLAIM", 7)
    await in_doubt(world, await world.tenant(), 20, taken=True)
    for claimed in (7, 7, 6):
        world.queue.wakes.clear()
        assert await world.look_up() == claimed
        assert (("submit", 0.0) in world.queue.wakes) == (claimed == 7)
    assert await world.states() == {"submitted": 20}
    assert world.upstream.count("page") == 1
    assert world.reconciler.remembered == 0


async def test_only_so_many_unfinished_lookups_are_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reconcile, "_REMEMBERED", 1)
    for slug in ("one", "two", "three"):
        await in_doubt(world, await world.tenant(slug), taken=False)
    world.upstream.always["page"] = Unknown("timeout")
    assert await world.look_up() == 3
    assert world.reconciler.remembered == 1


async def test_a_probe_that_was_not_needed_is_given_back(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """What a lookup has shown already needs no call, so it does not try the credential."""
    monkeypatch.setattr(reconcile, "_CLAIM", 1)
    await in_doubt(world, await world.tenant(), 2, taken=True)
    assert await world.look_up() == 1
    await world.run("UPDATE credential SET failures = 9, paused_until = NULL")
    assert await world.look_up() == 1
    assert world.upstream.count("page") == 1
    assert await world.states() == {"submitted": 2}
    health = await world.health()
    assert (health.failures, health.rest) == (9, 0)


async def test_what_began_before_another_process_had_looked_is_not_the_second_look(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=False)
    world.upstream.jobs = upstream_jobs(12_000, start=datetime.now(UTC), step=0.001)
    world.upstream.move("QUEUED", created_at=None)

    async def take_time() -> None:
        world.clock.advance(0.1)

    world.upstream.gates["page"] = take_time
    await world.look_up()
    assert world.seen("lookup")[-1][0] == "unfinished"
    assert world.reconciler.remembered == 1
    world.upstream.gates.clear()
    await world.pass_time(1)
    other = world.other_process(slots=Slots(world.clock))
    await other.look_up()
    assert (await world.job(job_id)).lookups == 1
    await world.pass_time(3)
    world.upstream.asked.clear()
    await world.look_up()
    pages = [what[2] for call, what in world.upstream.asked if call == "page"]
    assert pages[0] == 0, "from the beginning"
    assert (await world.job(job_id)).state == "accepted"
