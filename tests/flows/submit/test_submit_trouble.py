"""Submit where the upstream will not: credentials are parked, rest, and recover."""

import json
from dataclasses import replace

import pytest

from gateway.core.crypto.cipher import Cipher
from gateway.ports import Busy, Denied, Refused, Unknown, UpstreamProblem
from tests.flows.fakes import PROBLEM
from tests.flows.world import HOOK, World

DENIED = Denied(401, UpstreamProblem("UNAUTHORIZED", "Unauthorized", "Invalid API key."))


# --- the credential is not honoured ----------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_rejected_credential_is_parked_and_its_jobs_wait_unharmed(
    world: World, status: int
):
    tenant = await world.tenant(hook=HOOK)
    ids = await world.accept(tenant, 3)
    world.queue.wakes.clear()
    world.upstream.always["submit"] = replace(DENIED, status=status)
    assert await world.submit() == 3
    for job_id in ids:
        job = await world.job(job_id)
        assert (job.state, job.submit_attempts) == ("accepted", 0)
        assert await world.notes(job_id) == ["credential.rejected"]
    health = await world.health()
    assert health.rejected_reason == f"HTTP {status}: Invalid API key."
    assert 290 < health.rest <= 300
    assert await world.event_types() == ["credential.rejected"]
    event = (await world.events())[0]
    assert json.loads(event.body)["data"] == {
        "credential": {"version": 1},
        "reason": f"HTTP {status}: Invalid API key.",
    }
    assert len(await world.deliveries()) == 1
    assert world.queue.wakes == [("deliver", 0.1)]
    assert await world.submit() == 0


async def test_a_rejection_nobody_listens_for_wakes_nobody(world: World):
    await world.accept(await world.tenant())
    world.queue.wakes.clear()
    world.upstream.will("submit", DENIED)
    await world.submit()
    assert world.queue.wakes == []


async def test_a_rejected_credential_harms_no_other_tenant(world: World):
    acme, other = await world.tenant(), await world.tenant("other")
    await world.accept(acme)
    world.upstream.will("submit", DENIED)
    await world.submit()
    theirs = await world.accept(other, 5)
    assert await world.submit() == 5
    assert (await world.job(theirs[0])).state == "submitted"
    assert (await world.health("other")).rejected_at is None


async def test_a_rejected_credential_is_tried_again_with_one_job_and_recovers(world: World):
    tenant = await world.tenant()
    await world.accept(tenant, 4)
    world.upstream.will("submit", *[DENIED] * 4)
    await world.submit()
    await world.pass_time(301)
    world.upstream.will("submit", DENIED)
    assert await world.submit() == 1
    assert await world.event_types() == ["credential.rejected"]
    assert await world.submit() == 0
    await world.pass_time(301)
    assert await world.submit() == 1
    health = await world.health()
    assert (health.rejected_at, health.rejected_reason, health.rest) == (None, None, 0)
    assert await world.submit() == 3
    assert {row[0] for row in await world.rows("SELECT submit_attempts FROM job")} == {1}


@pytest.mark.parametrize("key", ["another-key", "key-of-acme"])
async def test_a_new_credential_or_the_same_again_ends_a_rejection_at_once(world: World, key: str):
    tenant = await world.tenant()
    await world.accept(tenant, 2)
    world.upstream.will("submit", DENIED, DENIED)
    await world.submit()
    await world.credential("acme", key)
    assert world.queue.wakes[-2:] == [("submit", 0.0), ("poll", 0.0)]
    assert await world.submit() == 2
    assert world.upstream.sent[-1][0].key.value == key
    assert (await world.health()).rejected_at is None


async def test_a_credential_that_no_master_key_opens_waits_and_its_tenant_hears_nothing(
    world: World,
):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    elsewhere = world.other_process(cipher=Cipher([b"x" * 32]))
    assert await elsewhere.submit() == 1
    assert world.upstream.sent == []
    assert ((await world.job(job_id)).state, await world.notes(job_id)) == (
        "accepted",
        [],
    )
    health = await world.health()
    assert (health.rejected_at, health.failures, await world.events()) == (None, 0, [])
    assert 4 < health.rest <= 5
    assert (await world.job(job_id)).submit_attempts == 0
    told = [
        fields
        for work, outcome, fields in world.observer.seen
        if (work, outcome) == ("open", "sealed")
    ]
    assert [one["key"] for one in told] == [world.deps.cipher.numbers[0].hex()]
    # Told once a minute, however often it is tried; and once the key is back it goes on.
    await world.pass_time(6)
    await elsewhere.submit()
    assert len([1 for work, *_ in world.observer.seen if work == "open"]) == 1
    world.clock.advance(60)
    await world.pass_time(6)
    await elsewhere.submit()
    assert len([1 for work, *_ in world.observer.seen if work == "open"]) == 2
    await world.pass_time(6)
    assert await world.submit() == 1
    assert (await world.job(job_id)).state == "submitted"


# --- certainly not taken --------------------------------------------------------------------------


async def test_a_limited_job_goes_back_and_its_credential_rests_as_long_as_asked(world: World):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    world.queue.wakes.clear()
    world.upstream.will("submit", Busy("too many requests", retry_after=7.0, limited=True))
    await world.submit()
    job, health = await world.job(job_id), await world.health()
    assert (job.state, job.submit_attempts, job.lease_token) == ("accepted", 1, None)
    assert 6 < job.due_in <= 7
    assert 6 < health.rest <= 7
    assert health.failures == 1
    assert world.queue.wakes == [("submit", 7.0)]
    assert await world.notes(job_id) == ["submit.postponed"]
    await world.pass_time(6)
    assert await world.submit() == 0
    await world.pass_time(1)
    assert await world.submit() == 1
    assert (await world.health()).failures == 0


async def test_of_several_wishes_the_longest_counts_and_a_long_rest_is_left_to_the_sweep(
    world: World,
):
    await world.accept(await world.tenant(), 3)
    world.queue.wakes.clear()
    world.upstream.will("submit", Busy("busy"), Busy("busy", retry_after=90.0), Busy("busy"))
    await world.submit()
    assert 89 < (await world.health()).rest <= 90
    assert world.queue.wakes == []


@pytest.mark.parametrize(("wish", "rest"), [(10.0**9, 600.0), (-5.0, 0.1)])
async def test_senseless_wishes_are_bounded(world: World, wish: float, rest: float):
    job_id = await world.accept_one(await world.tenant())
    world.upstream.will("submit", Busy("busy", retry_after=wish))
    await world.submit()
    assert rest - 1 < (await world.job(job_id)).due_in <= rest


async def test_rests_grow_with_failures_in_a_row(world: World):
    await world.accept(await world.tenant())
    rests = []
    world.upstream.always["submit"] = Busy("connection refused")
    for _ in range(4):
        await world.submit()
        rests.append(round((await world.health()).rest, 1))
        await world.pass_time(60)
    # Some of each rest is over by the time that it is read, the less the longer it is.
    assert all(rest <= 0.6 * 2**n for n, rest in enumerate(rests))
    assert rests[3] > 2 * rests[1] > 0
    assert rests[3] > 3


async def test_the_breaker_opens_tries_one_job_and_closes(world: World):
    tenant = await world.tenant()
    await world.accept(tenant, 10)
    world.upstream.always["submit"] = Busy("connection refused")
    for _ in range(5):
        await world.submit(2)
        await world.pass_time(60)
    assert (await world.health()).failures == 5
    assert await world.submit() == 1
    await world.pass_time(60)
    world.upstream.always.clear()
    assert await world.submit() == 1
    health = await world.health()
    assert (health.failures, health.submit_room) == (0, 1 + 4)
    assert [await world.submit(), await world.submit()] == [5, 4]
    assert len(world.upstream.jobs) == 10


async def test_a_mixed_batch_settles_each_job_by_its_own_answer(world: World):
    tenant = await world.tenant()
    ids = await world.accept(tenant, 4)
    world.upstream.will("submit", None, Refused(400, PROBLEM), Busy("busy"), Unknown("cut"))
    await world.submit()
    assert await world.states() == {
        "submitted": 1,
        "failed": 1,
        "accepted": 1,
        "submitting": 1,
    }
    assert sorted([note for job_id in ids for note in await world.notes(job_id)]) == [
        "submit.in_doubt",
        "submit.postponed",
    ]
