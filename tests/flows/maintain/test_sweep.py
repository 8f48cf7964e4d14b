"""The sweep finds rows whose wake-up was lost, and expires jobs past their deadline."""

import json

import pytest

from gateway.errors import Unavailable
from gateway.flows.bulk.jobs import cancel_jobs
from gateway.flows.deliver.endpoints import delete_endpoint
from gateway.flows.maintain.sweep import sweep
from gateway.flows.upstream.delete_job import delete_job
from gateway.ports import Busy, Denied, Unknown
from gateway.store.job_search.filter import JobFilter
from gateway.store.work import sweeps
from tests.flows.fakes import PROBLEM, reply
from tests.flows.world import HOOK, World


async def swept(world: World) -> tuple[str, dict[str, object]]:
    world.queue.wakes.clear()
    await sweep(world.deps)
    return world.seen("sweep")[-1]


async def test_where_all_is_well_nothing_is_woken(world: World):
    tenant = await world.tenant(hook=HOOK)
    await world.accept(tenant)
    outcome, fields = await swept(world)
    assert outcome == "quiet"
    assert (fields["submit"], fields["poll"], fields["deliver"], fields["expired"]) == (0, 0, 0, 0)
    assert world.queue.wakes == []


async def test_one_of_several_workers_sweeps(world: World):
    await world.accept(await world.tenant())
    await world.pass_time(10)
    async with world.deps.db.begin() as tx:
        assert await sweeps.lead(tx)
        world.queue.wakes.clear()
        await sweep(world.deps)
        assert world.seen("sweep") == []
        assert world.queue.wakes == []
    assert (await swept(world))[0] == "late"


async def test_a_job_whose_wake_up_was_lost_is_submitted(world: World):
    await world.accept(await world.tenant(), 3)
    await world.pass_time(2)
    assert (await swept(world))[0] == "quiet", "a wake-up may take a moment"
    await world.pass_time(2)
    outcome, fields = await swept(world)
    assert (outcome, fields["submit"]) == ("late", 1), "one tenant"
    assert world.queue.wakes == [("submit", 0.0)]


async def test_a_job_whose_wake_up_was_lost_does_not_wait_for_a_long_one_to_end(world: World):
    tenant = await world.tenant()
    await world.at_upstream(tenant)
    await world.accept(tenant)
    await world.pass_time(60)
    await world.run("UPDATE credential SET poll_at = now() + interval '30 seconds'")
    await swept(world)
    assert ("submit", 0.0) in world.queue.wakes


async def test_a_row_that_waits_for_a_resting_credential_is_not_late(world: World):
    tenant = await world.tenant()
    await world.accept(tenant)
    world.upstream.will("submit", Busy("busy", retry_after=60.0))
    await world.submit()
    await world.pass_time(30)
    assert (await swept(world))[0] == "quiet"


async def test_a_later_retry_is_woken_for_in_time_and_not_rescued(world: World):
    """The third attempt comes after five minutes, for which nobody keeps a wake-up."""
    world.sender.always[HOOK] = reply(500)
    await world.ended(await world.tenant(hook=HOOK))
    await world.deliver()
    await world.pass_time(6)
    await world.deliver()
    left = await world.value("SELECT EXTRACT(epoch FROM next_at - now())::float8 FROM delivery")
    assert left > 200
    await world.pass_time(left - 6.5)
    outcome, fields = await swept(world)
    assert (outcome, fields["deliver"]) == ("quiet", 0)
    assert world.queue.wakes == [("deliver", 7.0)]
    await world.pass_time(9)
    assert (await swept(world))[0] == "quiet"


async def test_a_rejected_credential_is_tried_again_in_time_and_not_rescued(world: World):
    await world.accept(await world.tenant())
    world.upstream.will("submit", Denied(401, PROBLEM))
    await world.submit()
    await world.pass_time(295.5)
    outcome, fields = await swept(world)
    assert (outcome, fields["submit"]) == ("quiet", 0)
    assert world.queue.wakes == [("submit", 5.0)]
    await world.pass_time(5)
    assert (await swept(world))[0] == "quiet"


async def test_a_submit_in_doubt_is_looked_up(world: World):
    await world.accept(await world.tenant())
    world.upstream.will("submit", Unknown("timeout"))
    await world.submit()
    await world.pass_time(6)
    outcome, fields = await swept(world)
    assert (outcome, fields["submit"]) == ("late", 1)
    assert world.queue.wakes == [("submit", 0.0)]


async def test_a_credential_that_nobody_polls_is_polled(world: World):
    await world.at_upstream(await world.tenant())
    await world.pass_time(4)
    outcome, fields = await swept(world)
    assert (outcome, fields["poll"]) == ("late", 1)
    assert world.queue.wakes == [("poll", 0.0)]


async def test_a_credential_that_was_forgotten_is_polled_again(world: World):
    (job_id,) = await world.at_upstream(await world.tenant())
    await world.run("UPDATE credential SET poll_at = NULL, poll_lease_until = NULL")
    world.upstream.move("SUCCEEDED")
    assert await world.poll() == 0
    assert (await swept(world))[1]["poll"] == 1
    assert world.queue.wakes == [("poll", 0.0)]
    assert await world.poll() == 1
    assert (await world.job(job_id)).state == "succeeded"


async def test_a_credential_without_jobs_is_left_alone(world: World):
    await world.tenant()
    assert (await swept(world))[0] == "quiet"
    assert (await world.health()).poll_at is None


async def test_a_late_delivery_is_sent(world: World):
    await world.ended(await world.tenant(hook=HOOK))
    await world.pass_time(4)
    outcome, fields = await swept(world)
    assert (outcome, fields["deliver"]) == ("late", 1)
    assert world.queue.wakes == [("deliver", 0.0)]


async def test_a_bulk_operation_whose_wake_up_was_lost_is_gone_on_with(world: World):
    tenant = await world.tenant()
    await world.accept(tenant)
    assert (await swept(world))[0] == "quiet"
    assert world.queue.wakes == []
    await cancel_jobs(world.deps, tenant.id, JobFilter(None))
    await swept(world)
    assert world.queue.wakes == [("bulk", 0.0)]


async def test_everything_is_rebuilt_from_the_rows(world: World):
    """After FLUSHALL, say: no wake-up is left, and each verb has work."""
    tenant = await world.tenant(hook=HOOK)
    await world.ended(tenant)
    await world.accept(await world.tenant("other"))
    await world.at_upstream(tenant)
    await world.accept(await world.tenant("third"))
    await world.pass_time(10)
    await swept(world)
    assert {verb for verb, _ in world.queue.wakes} == {"submit", "poll", "deliver"}


@pytest.mark.parametrize("at_upstream", [False, True])
async def test_a_job_that_outlived_its_deadline_expires(world: World, at_upstream: bool):
    tenant = await world.tenant(hook=HOOK)
    make = world.at_upstream if at_upstream else world.accept
    (job_id,) = await make(tenant, deadline_seconds=50.0)
    keep = await world.accept_one(tenant)
    await world.pass_time(51)
    outcome = await swept(world)
    job = await world.job(job_id)
    assert outcome[1]["expired"] == 1
    assert (job.state, json.loads(job.error)["code"]) == ("expired", "DEADLINE_EXCEEDED")
    assert await world.event_types(job_id) == ["job.failed"]
    assert ("deliver", 0.0) in world.queue.wakes
    assert (await world.job(keep)).state != "expired"
    assert await world.states() == {"expired": 1, "accepted": 1}


async def test_a_job_that_cannot_be_ended_holds_up_no_other(world: World):
    tenant = await world.tenant()
    (stuck,) = await world.accept(tenant, name="stuck", deadline_seconds=50.0)
    await world.accept(tenant, 3, deadline_seconds=51.0)
    await world.pass_time(60)
    check = "CHECK (name <> 'stuck' OR state <> 'expired')"
    await world.rows(f"ALTER TABLE job ADD CONSTRAINT stuck {check}")
    try:
        assert (await swept(world))[1]["expired"] == 3
    finally:
        await world.rows("ALTER TABLE job DROP CONSTRAINT stuck")
    assert [one["message"] for one in world.failures] == ["submit failed"]
    world.failures.clear()
    assert await world.states() == {"accepted": 1, "expired": 3}
    assert (await swept(world))[1]["expired"] == 1
    assert (await world.job(stuck)).state == "expired"


async def test_a_database_that_goes_away_ends_a_sweep(world: World):
    await world.accept(await world.tenant(), 2, deadline_seconds=50.0)
    await world.pass_time(51)

    def be_away(point: str) -> None:
        if point == "sweep.settled":
            raise Unavailable("away", retry_after=1)

    with pytest.raises(Unavailable):
        await sweep(world.other_process(crash_point=be_away).deps)
    assert await world.states() == {"accepted": 2}
    assert (await swept(world))[1]["expired"] == 2


async def test_a_delivery_made_while_its_endpoint_is_disabled_is_parked(world: World):
    await world.ended(await world.tenant(hook=HOOK))
    await world.run("UPDATE endpoint SET disabled_at = now()")
    await world.pass_time(10)
    assert (await swept(world))[0] == "quiet"
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.last_error) == ("parked", "the endpoint is disabled")


async def test_each_sweep_counts_the_beacon_up_and_mirrors_it(world: World):
    before = await world.value("SELECT count FROM beacon")
    for _ in range(2):
        await swept(world)
    assert await world.value("SELECT count FROM beacon") == before + 2
    id_ = await world.value("SELECT id FROM beacon")
    assert world.queue.beacons == {id_: before + 2}
    assert world.seen("restore") == []


async def test_a_job_that_is_being_submitted_just_now_is_not_expired_meanwhile(world: World):
    (job_id,) = await world.accept(await world.tenant(), deadline_seconds=50.0)
    await world.pass_time(40)
    held = world.other_process()
    await held.run(
        "UPDATE job SET state = 'submitting', lease_token = gen_random_uuid(),"
        " next_at = now() + interval '30 seconds', deadline_at = now() - interval '1 second'"
    )
    await swept(world)
    assert (await world.job(job_id)).state == "submitting"
    await world.pass_time(31)
    await swept(world)
    assert (await world.job(job_id)).state == "expired"


async def test_deleted_jobs_are_deleted_upstream(world: World):
    tenant = await world.tenant()
    (job_id,) = await world.at_upstream(tenant)
    world.upstream.will("delete", Busy("busy"))
    await delete_job(world.deps, tenant.id, job_id)
    await world.pass_time(61)
    assert (await swept(world))[1]["deleted"] == 1
    assert world.upstream.jobs == []


async def test_a_row_of_a_suspended_tenant_or_disabled_endpoint_is_not_late(world: World):
    tenant = await world.tenant(hook=HOOK)
    await world.ended(tenant)
    endpoint_id = (await world.deliveries())[0].endpoint_id
    await delete_endpoint(world.deps, tenant.id, endpoint_id)
    await world.run("UPDATE tenant SET suspended_at = now()")
    await world.accept(tenant)
    await world.pass_time(60)
    assert (await swept(world))[0] == "quiet"


async def test_a_row_that_waits_its_turn_is_woken_but_not_called_late(world: World):
    """Others of its kind are being served, so no wake-up was lost."""
    tenant = await world.tenant(hook=HOOK)
    await world.ended(tenant)
    await world.ended(tenant)
    await world.accept(tenant, 2)
    await world.pass_time(10)
    lease = "next_at = now() + interval '20 seconds', lease_token = gen_random_uuid()"
    await world.run(
        f"UPDATE job SET state = 'submitting', {lease} WHERE id ="
        " (SELECT min(id::text)::uuid FROM job WHERE state = 'accepted')"
    )
    await world.run(
        f"UPDATE delivery SET {lease} WHERE id = (SELECT min(id::text)::uuid FROM delivery)"
    )
    outcome, fields = await swept(world)
    assert (outcome, fields["submit"], fields["deliver"]) == ("quiet", 0, 0)
    assert {verb for verb, _ in world.queue.wakes} == {"submit", "deliver"}
