"""Bulk operations batch by batch: at its rate, through crashes, until it is done or stopped."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from gateway.errors import BulkFull, Conflict, NotFound
from gateway.flows.bulk.deliveries import RECOVER, recover, replay_missing, resend, step, stop
from gateway.flows.bulk.jobs import cancel_jobs
from gateway.flows.bulk.start import begin
from gateway.store.delivery_search.filter import DeliveryFilter
from gateway.store.job_search.filter import JobFilter
from tests.conftest import run_sql
from tests.flows.bulk_scenes import (
    EVER,
    add_events,
    began,
    operation,
    receiver,
    resent,
    run_all,
)
from tests.flows.scenes import OTHER, owe_rows
from tests.flows.world import World


async def test_it_goes_in_batches_at_its_rate_with_progress(world: World):
    tenant, endpoint_id = await receiver(world)
    await owe_rows(world, tenant, endpoint_id, 450)
    await recover(world.deps, tenant.id, endpoint_id, EVER)
    world.queue.wakes.clear()
    for done in (200, 400):
        assert await step(world.deps, world.acceptor)
        row = await operation(world)
        assert (row.state, row.done, row.total) == ("running", done, 450)
        assert await resent(world) == done
        assert not await step(world.deps, world.acceptor), "the next batch waits for its time"
        assert world.queue.wakes[-2:] == [("deliver", 0.0), ("bulk", pytest.approx(0.2))]
        await world.run("UPDATE bulk SET next_at = next_at - interval '0.2 seconds'")
    assert await step(world.deps, world.acceptor)
    row = await operation(world)
    assert (row.state, row.done, await resent(world)) == ("done", 450, 450)
    assert world.queue.wakes[-1] == ("deliver", 0.0)
    assert [outcome for outcome, _ in world.seen("bulk")] == ["batch", "batch", "done"]


async def test_a_number_of_rows_that_fills_its_batches_ends_too(world: World):
    tenant, endpoint_id = await receiver(world)
    await add_events(world, tenant, 200)
    await replay_missing(world.deps, tenant.id, endpoint_id, EVER)
    await run_all(world)
    row = await operation(world)
    assert (row.state, row.done, len(await world.deliveries())) == ("done", 200, 200)
    await world.run("UPDATE delivery SET state = 'delivered'")
    await owe_rows(world, tenant, endpoint_id, 200)
    await world.run("DELETE FROM bulk")
    await recover(world.deps, tenant.id, endpoint_id, EVER)
    await run_all(world)
    row = await operation(world)
    assert (row.state, row.done) == ("done", 200)


async def test_a_delivery_that_ends_again_meanwhile_is_not_sent_a_third_time(world: World):
    tenant, endpoint_id = await receiver(world)
    await owe_rows(world, tenant, endpoint_id, 450, "delivered")
    await resend(world.deps, DeliveryFilter(tenant.id))
    for done in (200, 400, 450):
        assert await step(world.deps, world.acceptor)
        assert (await operation(world)).done == done
        await world.run("UPDATE delivery SET state = 'delivered'")
        await world.run("UPDATE bulk SET next_at = now()")
    assert not await step(world.deps, world.acceptor)
    assert (await operation(world)).state == "done"


async def test_a_later_delivery_is_not_part_of_an_operation(world: World):
    tenant, endpoint_id = await receiver(world)
    await owe_rows(world, tenant, endpoint_id, 3)
    await resend(world.deps, DeliveryFilter(tenant.id))
    (late,) = await owe_rows(world, tenant, endpoint_id, 1)
    await run_all(world)
    rows = {row.id: row for row in await world.deliveries()}
    assert rows[late].resent_at is None
    assert await resent(world) == 3


async def test_two_workers_do_no_batch_twice(world: World):
    tenant, endpoint_id = await receiver(world)
    await add_events(world, tenant, 250)
    await replay_missing(world.deps, tenant.id, endpoint_id, EVER)
    other = world.other_process()
    while await world.value("SELECT state FROM bulk") == "running":
        await step(world.deps, world.acceptor)
        await step(other.deps, other.acceptor)
        await world.run("UPDATE bulk SET next_at = now()")
    pairs = await world.value("SELECT count(DISTINCT event_id) FROM delivery")
    assert (pairs, len(await world.deliveries())) == (250, 250)


@pytest.mark.parametrize("point", ["bulk.claimed", "bulk.recorded", "bulk.committed"])
@pytest.mark.parametrize("kind", ["recover", "replay-missing"])
async def test_a_crash_anywhere_leaves_nothing_half_done_and_nothing_doubled(
    world: World, point: str, kind: str
):
    tenant, endpoint_id = await receiver(world)
    if kind == "recover":
        await owe_rows(world, tenant, endpoint_id, 450)
        await recover(world.deps, tenant.id, endpoint_id, EVER)
    else:
        await add_events(world, tenant, 450)
        await replay_missing(world.deps, tenant.id, endpoint_id, EVER)

    def die(crash_point: str) -> None:
        if crash_point == point:
            raise RuntimeError(point)

    dying = world.other_process(crash_point=die)
    for _ in range(2):  # one batch by a healthy process, then one by a dying one
        with pytest.raises(RuntimeError, match=point):
            await step(dying.deps, dying.acceptor)
        done = (await operation(world)).done
        assert await resent(world) == done
        assert not await step(world.deps, world.acceptor) or point == "bulk.committed"
        await world.pass_time(30)
        await world.run("UPDATE delivery SET state = 'delivered' WHERE resent_at IS NOT NULL")
        await step(world.deps, world.acceptor)
        await world.pass_time(1)
    await run_all(world)
    row = await operation(world)
    assert (row.state, row.done, await resent(world)) == ("done", 450, 450)
    assert len(await world.deliveries()) == 450


async def test_many_operations_of_one_tenant_do_not_hold_up_anothers(world: World):
    tenant, endpoint_id = await receiver(world)
    other, theirs = await receiver(world, "other", OTHER)
    await owe_rows(world, tenant, endpoint_id, 450)
    for _ in range(20):
        await recover(world.deps, tenant.id, endpoint_id, EVER)
    for _ in range(180):
        with pytest.raises(BulkFull) as full:
            await recover(world.deps, tenant.id, endpoint_id, EVER)
        assert (full.value.quota, full.value.retry_after) == (20, 5.0)
    assert (await recover(world.deps, tenant.id, endpoint_id, EVER, dry_run=True)) is not None
    await owe_rows(world, other, theirs, 2)
    made = began(await recover(world.deps, other.id, theirs, EVER))
    served = UUID(int=0)
    for _ in range(2):
        served = await step(world.deps, world.acceptor, served) or served
    row = await world.row("SELECT * FROM bulk WHERE id = $1", made.id)
    assert (row.state, row.done) == ("done", 2)
    ours = await cancel_jobs(world.deps, other.id, JobFilter(None))
    assert began(ours).state == "done"
    with pytest.raises(BulkFull, match="20 bulk operations of the tenant are under way"):
        await cancel_jobs(world.deps, tenant.id, JobFilter(None))


async def test_an_operation_begun_at_once_with_others_is_refused_as_well(world: World):
    """It found room when it looked, and none when it was stored."""
    tenant, endpoint_id = await receiver(world)
    await owe_rows(world, tenant, endpoint_id, 1)
    for _ in range(20):
        await recover(world.deps, tenant.id, endpoint_id, EVER)

    async with world.deps.db.of(tenant.id) as tx:
        with pytest.raises(BulkFull):
            await begin(tx, world.deps, RECOVER, tenant.id, filter_="{}", total=1, until=None)


# --- Stop -------------------------------------------------------------------------------------------


async def test_a_stopped_operation_keeps_finished_batches_and_leaves_the_rest(world: World):
    tenant, endpoint_id = await receiver(world)
    await owe_rows(world, tenant, endpoint_id, 450)
    made = began(await recover(world.deps, tenant.id, endpoint_id, EVER))
    await step(world.deps, world.acceptor)
    stopped = await stop(world.deps, tenant.id, made.id)
    assert (stopped.state, stopped.done, stopped.completed_at is not None) == ("stopped", 200, True)
    await world.run("UPDATE bulk SET next_at = now()")
    assert not await step(world.deps, world.acceptor)
    assert await resent(world) == 200
    with pytest.raises(Conflict, match="ended already"):
        await stop(world.deps, tenant.id, made.id)


async def test_stopped_between_a_claim_and_its_batch_nothing_of_the_batch_is_written(
    world: World, database_url: str
):
    tenant, endpoint_id = await receiver(world)
    await owe_rows(world, tenant, endpoint_id, 450)
    made = began(await recover(world.deps, tenant.id, endpoint_id, EVER))
    await step(world.deps, world.acceptor)
    await world.run("UPDATE bulk SET next_at = now()")

    def stop_now(point: str) -> None:
        if point == "bulk.claimed":
            with ThreadPoolExecutor(1) as aside:
                aside.submit(run_sql, database_url, "UPDATE bulk SET state = 'stopped'").result()

    stopping = world.other_process(crash_point=stop_now)
    await step(stopping.deps, stopping.acceptor)
    row = await operation(world)
    assert (row.id, row.state, row.done) == (made.id, "stopped", 200)
    assert await resent(world) == 200
    outcomes = [(outcome, told["rows"], told["done"]) for outcome, told in world.seen("bulk")]
    assert outcomes == [("batch", 200, 200), ("stopped", 0, 200)]
    assert {told["total"] for _, told in world.seen("bulk")} == {450}


async def test_an_operation_on_jobs_goes_the_same_way(world: World):
    tenant = await world.tenant()
    ids = await world.accept(tenant, 3)
    made = began(await cancel_jobs(world.deps, tenant.id, JobFilter(None)))
    assert await step(world.deps, world.acceptor)
    row = await operation(world)
    assert (row.id, row.kind, row.state, row.done) == (made.id, "cancel-jobs", "done", 3)
    assert {(await world.job(id_)).state for id_ in ids} == {"cancelled"}


async def test_an_operation_that_is_missing_or_anothers_cannot_be_stopped(world: World):
    tenant, endpoint_id = await receiver(world)
    other = await world.tenant("other")
    await owe_rows(world, tenant, endpoint_id, 1)
    made = began(await resend(world.deps, DeliveryFilter(tenant.id)))
    for tenant_id, wanted in ((tenant.id, uuid4()), (other.id, made.id)):
        with pytest.raises(NotFound):
            await stop(world.deps, tenant_id, wanted)
    assert (await operation(world)).state == "running"


async def test_an_operation_without_rows_is_done_at_once(world: World):
    tenant, endpoint_id = await receiver(world)
    made = began(await recover(world.deps, tenant.id, endpoint_id, EVER))
    assert (made.state, made.total) == ("done", 0)
    assert not await step(world.deps, world.acceptor)
