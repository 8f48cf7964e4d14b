"""Settle: one end, and with it in one transaction its event, its deliveries and its usage."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.core.events import TEST_PING, event_body
from gateway.core.lifecycle import Finish, cancelled, expired
from gateway.core.model import JobState
from gateway.flows.deliver.endpoints import delete_endpoint
from gateway.flows.settle.settlement import Settled, announce, ending, publish, settle
from gateway.flows.upstream.delete_job import delete_job
from gateway.store.work.settlement import NewEvent
from tests.flows.world import CALLBACK, HOOK, World

DONE = Finish(JobState.SUCCEEDED, result='{"out":"https://get"}')


async def settle_one(world: World, job_id: UUID, finish: Finish = DONE) -> Settled:
    async with world.deps.db.begin() as tx:
        return await settle(tx, world.deps, [ending(job_id, finish)])


async def test_a_job_ends_once_and_in_one_way(world: World):
    job_id = await world.accept_one(await world.tenant(hook=HOOK))
    first = await settle_one(world, job_id)
    assert [job.id for job in first.jobs] == [job_id]
    for finish in (DONE, expired(), cancelled()):
        assert await settle_one(world, job_id, finish) == Settled()
    assert (await world.job(job_id)).state == "succeeded"
    assert await world.event_types() == ["job.succeeded"]
    assert len(await world.deliveries()) == 1
    assert await world.value("SELECT sum(jobs)::int FROM usage_hourly") == 1


async def test_of_many_ends_at_once_one_counts(world: World):
    job_id = await world.accept_one(await world.tenant(hook=HOOK))
    finishes = [DONE, expired(), cancelled(), DONE]
    ends = await asyncio.gather(*(settle_one(world, job_id, finish) for finish in finishes))
    (winner,) = [end.jobs[0] for end in ends if end.jobs]
    assert (await world.job(job_id)).state == winner.state
    assert len(await world.events()) == len(await world.deliveries()) == 1


async def test_a_batch_ends_what_is_open_and_leaves_the_rest(world: World):
    ids = await world.accept(await world.tenant(), 5)
    await settle_one(world, ids[0])
    async with world.deps.db.begin() as tx:
        settled = await settle(tx, world.deps, [ending(id_, expired()) for id_ in ids])
    assert {job.id for job in settled.jobs} == set(ids[1:])
    assert await world.states() == {"succeeded": 1, "expired": 4}


@pytest.mark.parametrize("point", ["settle.finished", "settle.published"])
async def test_the_end_and_all_that_follows_exist_together_or_not_at_all(world: World, point: str):
    job_id = await world.accept_one(await world.tenant(hook=HOOK), callback_url=CALLBACK)

    def die(crash_point: str) -> None:
        if crash_point == point:
            raise RuntimeError(point)

    with pytest.raises(RuntimeError, match=point):
        await settle_one(world.other_process(crash_point=die), job_id)
    assert (await world.job(job_id)).state == "accepted"
    assert await world.events() == []
    assert await world.deliveries() == []
    assert await world.value("SELECT count(*) FROM usage_hourly") == 0


async def test_only_the_holder_of_a_lease_may_end_a_job_where_a_token_is_given(world: World):
    job_id = await world.accept_one(await world.tenant())
    token, other = world.deps.ids.uuid(), world.deps.ids.uuid()
    await world.run("UPDATE job SET lease_token = $1", token)
    async with world.deps.db.begin() as tx:
        assert await settle(tx, world.deps, [ending(job_id, DONE, other)]) == Settled()
        assert len((await settle(tx, world.deps, [ending(job_id, DONE, token)])).jobs) == 1


async def test_an_event_holds_the_job_as_it_was_for_ever(world: World):
    tenant = await world.tenant(metadata='{"plan":"gold"}')
    job_id = await world.accept_one(tenant, metadata='{"plan":"gold"}', batch_name="b")
    await world.run("UPDATE job SET created_at = created_at - interval '1 minute'")
    started = datetime.now(UTC) - timedelta(seconds=5)
    await settle_one(world, job_id, Finish(JobState.SUCCEEDED, '{"a":1}', None, started, started))
    (event,) = await world.events()
    body = json.loads(event.body)
    assert (body["type"], event.tenant_id, event.job_id) == ("job.succeeded", tenant.id, job_id)
    data = body["data"]
    assert (data["id"], data["status"], data["result"]) == (str(job_id), "SUCCEEDED", {"a": 1})
    assert (data["batchName"], data["metadata"]) == ("b", {"plan": "gold"})
    assert data["gateway"]["tenant"] == "acme"
    assert datetime.fromisoformat(data["startedAt"]) == started.replace(
        microsecond=started.microsecond // 1000 * 1000
    )
    await delete_job(world.deps, tenant.id, job_id)
    assert (await world.events())[0].body == event.body


async def test_an_event_is_owed_to_every_endpoint_that_asks_for_it_and_the_callback(world: World):
    tenant, other = await world.tenant(), await world.tenant("other", hook=HOOK)
    everything = await world.endpoint(tenant, "https://all.example.com")
    matching = await world.endpoint(
        tenant, "https://some.example.com", events=["job.failed", "job.succeeded"]
    )
    await world.endpoint(tenant, "https://none.example.com", events=["job.failed"])
    gone = await world.endpoint(tenant, "https://gone.example.com")
    await delete_endpoint(world.deps, tenant.id, gone)
    disabled = await world.endpoint(tenant, "https://off.example.com")
    await world.run("UPDATE endpoint SET disabled_at = now() WHERE id = $1", disabled)
    job_id = await world.accept_one(tenant, callback_url=CALLBACK)
    settled = await settle_one(world, job_id)
    assert settled.deliveries == 3, "what is parked is not due"
    owed = {row.endpoint_id or row.url: row.state for row in await world.deliveries()}
    assert owed == {
        everything: "pending",
        matching: "pending",
        disabled: "parked",
        CALLBACK: "pending",
    }
    assert {row.tenant_id for row in await world.deliveries()} == {tenant.id} != {other.id}


async def test_callbacks_to_one_origin_share_a_lane_of_their_tenant_alone(world: World):
    acme, other = await world.tenant(), await world.tenant("other")
    for tenant, url in ((acme, "/a"), (acme, "/b"), (other, "/a")):
        job_id = await world.accept_one(tenant, callback_url=f"https://one.example.com{url}")
        await settle_one(world, job_id)
    first, second, third = [row.lane for row in await world.deliveries()]
    assert first == second != third


async def test_an_event_nobody_listens_for_is_kept_all_the_same(world: World):
    job_id = await world.accept_one(await world.tenant())
    settled = await settle_one(world, job_id)
    world.queue.wakes.clear()
    announce(world.deps, settled)
    assert await world.event_types() == ["job.succeeded"]
    assert world.queue.wakes == []


async def test_an_event_may_be_about_no_job(world: World):
    tenant = await world.tenant(hook=HOOK, events=[TEST_PING])
    body = event_body(TEST_PING, "{}", datetime.now(UTC))
    event = NewEvent(world.deps.ids.uuid(), tenant.id, None, TEST_PING, body)
    async with world.deps.db.begin() as tx:
        assert await publish(tx, world.deps, [event]) == 1
    (delivery,) = await world.deliveries()
    assert (delivery.job_id, delivery.event_id) == (None, event.id)


async def test_ends_that_roll_up_at_once_neither_lose_nor_lock(world: World):
    tenants = [await world.tenant(slug) for slug in ("a", "b", "c")]
    batches = [[await world.accept_one(t) for t in tenants[:: 1 - 2 * (n % 2)]] for n in range(6)]

    async def end(ids: list[UUID]) -> None:
        async with world.deps.db.begin() as tx:
            await settle(tx, world.deps, [ending(id_, DONE) for id_ in ids])

    await asyncio.gather(*map(end, batches))
    counted = await world.rows("SELECT sum(jobs)::int FROM usage_daily GROUP BY tenant_id")
    assert [row[0] for row in counted] == [6, 6, 6]


async def test_each_end_is_reported_with_its_times(world: World):
    (job_id,) = await world.at_upstream(await world.tenant(hook=HOOK))
    await world.run(
        "UPDATE job SET created_at = now() - interval '10 s', submitted_at = now() - interval '6 s'"
    )
    world.queue.wakes.clear()
    announce(world.deps, await settle_one(world, job_id))
    assert world.queue.wakes == [("deliver", 0.0)]
    ((outcome, fields),) = world.seen("job")
    assert (outcome, fields["job_id"], fields["workflow"]) == ("succeeded", job_id, "stems")
    assert fields["queue_seconds"] == pytest.approx(4, abs=0.5)
    assert fields["upstream_seconds"] == pytest.approx(6, abs=1.5)


async def test_a_report_from_a_clock_that_is_behind_counts_no_negative_time(world: World):
    (job_id,) = await world.at_upstream(await world.tenant())
    early = datetime.now(UTC) - timedelta(hours=1)
    await settle_one(world, job_id, Finish(JobState.SUCCEEDED, completed_at=early))
    assert await world.value("SELECT run_microseconds FROM usage_hourly") == 0
