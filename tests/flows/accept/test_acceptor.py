"""Accept: stored before it is answered, once a key, never over the cap."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from gateway.core.model import Tenant
from gateway.errors import (
    BadRequest,
    IdempotencyKeyReused,
    QueueFull,
    Unauthorized,
    Unavailable,
)
from gateway.flows.accept.acceptor import Acceptor, refusals_reported
from gateway.flows.accept.idempotency import Accepted
from gateway.flows.admin.tenants import delete_tenant
from gateway.store.database import open_database
from tests.flows.world import World
from tests.web.live import until


async def test_a_job_of_an_erased_tenant_is_refused_and_not_stored(world: World):
    gone, kept = await world.tenant(), await world.tenant("kept")
    await delete_tenant(world.deps, "test", "acme")
    keyed = {"idempotency_key": "k", "request_hash": b"h"}
    orders = [world.order(gone), world.order(gone, **keyed), world.order(kept)]
    answers = await accept_all(world.acceptor, orders)
    assert [type(answer) for answer in answers] == [Unauthorized, Unauthorized, Accepted]
    assert "does not exist any more" in str(answers[0])
    assert await world.value("SELECT count(*) FROM job WHERE tenant_id = $1", gone.id) == 0
    assert await count(world) == 1


async def accept_all(acceptor: Acceptor, orders: list) -> list[Accepted | BaseException]:
    return await asyncio.gather(*map(acceptor.accept, orders), return_exceptions=True)


async def count(world: World) -> int:
    return await world.value("SELECT count(*) FROM job")


async def test_an_answered_job_is_committed_and_wakes_the_submitters(
    world: World, database_url: str
):
    tenant = await world.tenant()
    world.queue.wakes.clear()
    order = world.order(
        tenant,
        metadata='{"a": 1}',
        batch_name="b",
        callback_url="https://x.example.com",
        priority=3,
        deadline_seconds=60.0,
        copy_results_to='{"url":"https://put"}',
    )
    answer = await world.acceptor.accept(order)
    stranger = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        row = await stranger.fetchrow("SELECT * FROM job WHERE id = $1", answer.id)
    finally:
        await stranger.close()
    assert row is not None
    assert answer == Accepted(order.job.id)
    assert (row["state"], row["name"], row["workflow"]) == ("accepted", "song", "stems")
    assert (row["batch_name"], row["priority"]) == ("b", 3)
    assert row["callback_url"] == "https://x.example.com"
    assert (row["params"], row["copy_results_to"]) == (order.job.params, '{"url":"https://put"}')
    assert row["deadline_at"] - row["created_at"] == timedelta(seconds=60)
    assert world.queue.wakes == [("submit", 0.0)]


async def test_many_at_once_share_few_transactions(world: World):
    tenant = await world.tenant()
    orders = [world.order(tenant, name=f"n{n}") for n in range(1000)]
    answers = await accept_all(world.acceptor, orders)
    assert answers == [Accepted(order.job.id) for order in orders]
    assert await count(world) == 1000
    assert await world.value("SELECT count(DISTINCT xmin::text) FROM job") <= 5
    stored = {row.id: row.name for row in await world.rows("SELECT id, name FROM job")}
    assert stored == {order.job.id: order.job.name for order in orders}


async def test_a_repeated_request_is_answered_with_its_first_job(world: World):
    tenant = await world.tenant()
    keyed = {"idempotency_key": "k", "request_hash": b"h"}
    first = await world.acceptor.accept(world.order(tenant, **keyed))
    world.queue.wakes.clear()
    again = await world.acceptor.accept(world.order(tenant, **keyed))
    assert again == Accepted(first.id, replayed=True)
    assert await count(world) == 1
    assert world.queue.wakes == []


async def test_fifty_at_once_with_one_key_make_one_job_over_two_processes(world: World):
    tenant = await world.tenant()
    acceptors = [Acceptor(world.deps), Acceptor(world.deps)]
    orders = [world.order(tenant, idempotency_key="k", request_hash=b"h") for _ in range(50)]
    answers = await asyncio.gather(
        *(acceptors[n % 2].accept(order) for n, order in enumerate(orders))
    )
    assert len({answer.id for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    assert await count(world) == 1


async def test_a_key_with_another_body_is_refused(world: World):
    tenant = await world.tenant()
    await world.accept(tenant, idempotency_key="k", request_hash=b"one")
    with pytest.raises(IdempotencyKeyReused, match="another body"):
        await world.accept(tenant, idempotency_key="k", request_hash=b"two")
    assert await count(world) == 1


async def test_two_tenants_may_use_the_same_key(world: World):
    acme, other = await world.tenant(), await world.tenant("other")
    keyed = {"idempotency_key": "k", "request_hash": b"h"}
    ours, theirs = await world.accept(acme, **keyed), await world.accept(other, **keyed)
    assert ours != theirs
    assert await count(world) == 2


async def fill(world: World, tenant: Tenant, cap: int, wanted: int) -> list[object]:
    orders = [world.order(tenant, cap) for _ in range(wanted)]
    return list(await accept_all(world.acceptor, orders))


async def test_a_full_queue_refuses_exactly_what_is_too_much(world: World):
    tenant = await world.tenant()
    answers = await fill(world, tenant, 3, 10)
    refused = [answer for answer in answers if isinstance(answer, QueueFull)]
    assert len(refused) == 7
    assert refused[0].retry_after == 5
    assert "3 jobs waiting" in refused[0].detail
    assert await count(world) == 3


async def test_the_cap_is_kept_where_two_writers_meet(world: World):
    tenant = await world.tenant()
    answers = await fill(world, tenant, 260, 600)
    assert await count(world) == 260
    assert sum(isinstance(answer, Accepted) for answer in answers) == 260


async def test_a_submitted_job_makes_room(world: World):
    tenant = await world.tenant()
    await fill(world, tenant, 2, 2)
    assert isinstance((await fill(world, tenant, 2, 1))[0], QueueFull)
    assert await world.submit() == 2
    assert isinstance((await fill(world, tenant, 2, 1))[0], Accepted)


async def test_a_full_tenant_is_full_alone(world: World):
    acme, other = await world.tenant(), await world.tenant("other")
    orders = [world.order(acme, 1), world.order(acme, 1), world.order(other, 1)]
    kinds = [type(answer) for answer in await accept_all(world.acceptor, orders)]
    assert set(kinds[:2]) == {Accepted, QueueFull}
    assert kinds[2] is Accepted


async def test_a_repeat_is_answered_though_the_queue_is_full(world: World):
    tenant = await world.tenant()
    keyed = {"idempotency_key": "k", "request_hash": b"h"}
    first = await world.acceptor.accept(world.order(tenant, 1, **keyed))
    again = await world.acceptor.accept(world.order(tenant, 1, **keyed))
    assert again == Accepted(first.id, replayed=True)


async def test_repeats_use_up_no_room(world: World):
    tenant = await world.tenant()
    keyed = {"idempotency_key": "k", "request_hash": b"h"}
    await world.acceptor.accept(world.order(tenant, 10, **keyed))
    orders = [world.order(tenant, 10, **keyed) for _ in range(20)] + [world.order(tenant, 10)]
    answers = await accept_all(world.acceptor, orders)
    assert [a for a in answers if not isinstance(a, Accepted)] == []
    assert await count(world) == 2


async def test_far_from_the_cap_jobs_are_not_counted_for_every_batch(world: World):
    tenant = await world.tenant()
    await fill(world, tenant, 1000, 1)
    await world.run(
        "INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, deadline_at)"
        " SELECT gen_random_uuid(), $1, 'accepted', '', '', '{}', '{}', now()"
        " FROM generate_series(1, 1000)",
        tenant.id,
    )
    assert isinstance((await fill(world, tenant, 1000, 1))[0], Accepted)
    world.clock.advance(0.6)
    assert isinstance((await fill(world, tenant, 1000, 1))[0], QueueFull)


async def test_with_little_room_jobs_are_counted_for_every_batch(world: World):
    """Also those that other processes accepted a moment ago."""
    tenant = await world.tenant()
    await fill(world, tenant, 10, 1)
    other = Acceptor(world.deps)
    answers = [
        (await accept_all(acceptor, [world.order(tenant, 10)]))[0]
        for acceptor in (world.acceptor, other) * 8
    ]
    assert sum(isinstance(answer, Accepted) for answer in answers) == 9


async def test_a_long_queue_near_its_cap_is_not_counted_for_every_batch(world: World):
    tenant = await world.tenant()
    await world.run(
        "INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, deadline_at)"
        " SELECT gen_random_uuid(), $1, 'accepted', '', '', '{}', '{}', now()"
        " FROM generate_series(1, 1100)",
        tenant.id,
    )
    assert isinstance((await fill(world, tenant, 1101, 1))[0], Accepted)
    await world.run("DELETE FROM job WHERE tenant_id = $1", tenant.id)
    assert isinstance((await fill(world, tenant, 1101, 1))[0], QueueFull)
    world.clock.advance(0.1)
    assert isinstance((await fill(world, tenant, 1101, 1))[0], Accepted)


async def test_one_bad_row_fails_nobody_else(world: World):
    tenant = await world.tenant()
    orders = [world.order(tenant, name="ok") for _ in range(20)]
    orders[7] = world.order(tenant, name="a\x00b")
    answers = await accept_all(world.acceptor, orders)
    assert isinstance(answers.pop(7), BadRequest)
    assert all(isinstance(answer, Accepted) for answer in answers)
    assert await count(world) == 19


async def test_nothing_is_accepted_while_the_database_is_away(world: World, unused_tcp_port: int):
    tenant = await world.tenant()
    away = open_database(
        f"postgresql+asyncpg://nobody@127.0.0.1:{unused_tcp_port}/none", pool=1, name="test"
    )
    elsewhere = world.other_process(db=away)
    world.queue.wakes.clear()
    with pytest.raises(Unavailable) as caught:
        await elsewhere.acceptor.accept(world.order(tenant))
    await away.close()
    assert caught.value.retry_after == 1
    assert await count(world) == 0
    assert world.queue.wakes == []


async def test_a_connection_that_is_cut_stores_nothing_and_is_replaced(world: World):
    tenant = await world.tenant()
    async with world.deps.db.begin() as tx:
        await tx.rows("LOCK TABLE job IN EXCLUSIVE MODE")
        accepting = asyncio.create_task(world.acceptor.accept(world.order(tenant)))
        while not await tx.rows(  # noqa: ASYNC110 - the database tells nobody
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"
            " AND relation = 'job'::regclass AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        ):
            await asyncio.sleep(0.005)
        with pytest.raises(Unavailable):
            await accepting
    assert await count(world) == 0
    await world.accept(tenant)
    assert await count(world) == 1


async def test_a_caller_that_goes_away_leaves_its_job(world: World):
    tenant = await world.tenant()
    accepting = asyncio.create_task(world.acceptor.accept(world.order(tenant)))
    await asyncio.sleep(0)
    accepting.cancel()
    await world.accept(tenant)

    async def are_there() -> bool:  # the other writer may still be at it
        return await count(world) == 2

    await until(are_there)


async def test_a_refusal_is_reported_by_its_code(world: World):
    with pytest.raises(QueueFull), refusals_reported(world.deps):
        raise QueueFull("The queue is full.", quota=1, room=0, retry_after=5)
    assert world.observer.seen[-1][:2] == ("accept", "QUEUE_FULL")
