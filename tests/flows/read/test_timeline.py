"""The timeline of a job: everything that happened to it, in order and in plain sentences."""

from dataclasses import replace
from datetime import datetime
from uuid import uuid4

import pytest

from gateway.errors import NotFound
from gateway.flows.accept.acceptor import Acceptor, Order
from gateway.flows.accept.retry_job import job_again
from gateway.flows.maintain.sweep import sweep
from gateway.flows.read.timeline import timeline
from gateway.flows.upstream.delete_job import delete_job
from gateway.ports import Busy, Refused, SendFault
from tests.flows.fakes import PROBLEM, reply
from tests.flows.world import CALLBACK, World


async def test_a_whole_life_can_be_read(world: World):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant, callback_url=CALLBACK)
    world.upstream.will("submit", Busy("connection refused"))
    await world.submit()
    await world.pass_time(2)
    await world.submit()
    world.upstream.move("STARTED")
    await world.poll_again(1)
    world.upstream.move("SUCCEEDED")
    await world.poll_again(1)
    world.sender.will(CALLBACK, SendFault("timeout", "no answer in 15 s", 15.0), reply(200))
    await world.deliver()
    await world.pass_time(6)
    await world.deliver()
    entries = await timeline(world.deps, tenant.id, job_id)
    assert sorted({entry.type for entry in entries}) == [
        "accepted",
        "polled",
        "started",
        "submit.postponed",
        "submitted",
        "succeeded",
        "webhook",
    ]
    by_type = {entry.type: entry for entry in entries}
    assert by_type["submitted"].text == "The upstream took the job at attempt 2."
    assert by_type["submitted"].detail == {"upstreamId": world.upstream.jobs[0].upstream_id}
    (seconds,) = by_type["polled"].detail.values()
    assert by_type["polled"].text == f"The gateway polled the upstream for {seconds:g} seconds."
    assert by_type["started"].text == "The upstream started the job."
    assert by_type["submit.postponed"].text == (
        "The upstream could not take the job yet. The gateway tries again."
    )
    assert by_type["submit.postponed"].detail == {"reason": "connection refused"}
    assert by_type["succeeded"].text == "The job succeeded."
    assert [entry.text for entry in entries if entry.type == "webhook"] == [
        "Webhook job.succeeded, attempt 1 failed: no answer in 15 s. It will be sent again.",
        "Webhook job.succeeded, attempt 2: the receiver answered 200.",
    ]
    detail = by_type["webhook"].detail
    assert (detail["url"], detail["status"], detail["errorClass"]) == (CALLBACK, 200, None)
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)


async def test_a_failure_says_why(world: World):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    world.upstream.will("submit", Refused(400, PROBLEM))
    await world.submit()
    entries = await timeline(world.deps, tenant.id, job_id)
    assert [entry.text for entry in entries] == [
        "The gateway accepted the job.",
        "The job failed: File not found. (BAD_INPUT)",
    ]
    assert entries[-1].detail == {
        "code": "BAD_INPUT",
        "title": "Invalid input",
        "message": "File not found.",
        "origin": "caller",
        "retryable": False,
    }


async def test_a_job_that_was_deleted_before_its_end_was_cancelled(world: World):
    """Callers see no deleted job; this is what the row says once it is shown again."""
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    await delete_job(world.deps, tenant.id, job_id)
    await world.run("UPDATE job SET deleted_at = NULL")
    entry = (await timeline(world.deps, tenant.id, job_id))[-1]
    assert (entry.type, entry.text) == ("cancelled", "The job was cancelled.")
    assert entry.detail["code"] == "CANCELLED"


async def test_a_job_that_outlived_its_deadline_expired(world: World):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    await world.run("UPDATE job SET deadline_at = now() - interval '1 s'")
    await sweep(world.deps)
    entry = (await timeline(world.deps, tenant.id, job_id))[-1]
    assert entry.type == "expired"
    assert entry.text == "The job expired: it did not finish before its deadline."
    assert entry.detail["code"] == "DEADLINE_EXCEEDED"


async def test_the_last_failed_attempt_of_a_webhook_leaves_a_dead_letter(world: World):
    tenant = await world.tenant()
    (job_id,) = await world.ended(tenant, callback_url=CALLBACK)
    process = world.other_process(policy=replace(world.deps.policy, delivery_delays=(5.0,)))
    world.sender.will(CALLBACK, reply(500), reply(500))
    await process.deliver()
    await world.pass_time(6)
    await process.deliver()
    entries = await timeline(world.deps, tenant.id, job_id)
    first, second = [entry.text for entry in entries if entry.type == "webhook"]
    assert first.endswith("attempt 1: the receiver answered 500. It will be sent again.")
    assert second.endswith(
        "attempt 2: the receiver answered 500. It is a dead letter: the gateway does not send it"
        " again by itself."
    )


async def test_the_timeline_of_a_job_that_is_missing_or_anothers_is_not_found(world: World):
    tenant, other = await world.tenant(), await world.tenant("other")
    job_id = await world.accept_one(tenant)
    for tenant_id, wanted in ((tenant.id, uuid4()), (other.id, job_id)):
        with pytest.raises(NotFound):
            await timeline(world.deps, tenant_id, wanted)


async def test_an_open_job_has_no_end_yet(world: World):
    tenant = await world.tenant()
    (job_id,) = await world.at_upstream(tenant)
    entries = await timeline(world.deps, tenant.id, job_id)
    assert [entry.type for entry in entries] == ["accepted", "submitted", "polled", "waiting"]


async def test_stages_dated_by_clocks_that_disagree_stay_in_order(world: World):
    tenant = await world.tenant()
    (job_id,) = await world.at_upstream(tenant)
    async with world.deps.db.single() as tx:
        await tx.run("UPDATE job SET started_at = submitted_at - interval '2 seconds'")
    entries = await timeline(world.deps, tenant.id, job_id)
    types = [entry.type for entry in entries]
    assert types == ["accepted", "submitted", "polled", "started", "waiting"]
    assert entries[3].at == entries[1].at
    told = datetime.fromisoformat(str(entries[3].detail["toldAt"]))
    assert 1.9 < (entries[1].at - told).total_seconds() < 2.1


async def test_a_note_that_is_a_sentence_is_shown_as_it_is(world: World):
    tenant = await world.tenant()
    job_id = await world.accept_one(tenant)
    await world.run(
        "INSERT INTO job_event (id, tenant_id, job_id, type, detail)"
        " SELECT gen_random_uuid(), tenant_id, id, 'submit.repeated', 'Again.' FROM job"
    )
    _, entry, _ = await timeline(world.deps, tenant.id, job_id)
    assert (entry.type, entry.text, entry.detail) == ("submit.repeated", "Again.", {})


async def test_a_retry_names_the_job_that_it_repeats(world: World):
    tenant = await world.tenant()
    first = await world.accept_one(tenant)
    world.upstream.will("submit", Refused(400, PROBLEM))
    await world.submit()
    again = await job_again(world.deps, tenant.id, first)
    await Acceptor(world.deps).accept(Order(again, 10))
    entry, _ = await timeline(world.deps, tenant.id, again.id)
    assert entry.detail == {"retryOf": str(first)}
