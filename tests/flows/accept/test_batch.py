"""Batch: many jobs of a tenant, all of them stored or none."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.core.model import Limits, NewJob, Tenant
from gateway.errors import GatewayError, IdempotencyKeyReused, QueueFull, Unauthorized
from gateway.flows.accept.batch import BatchAccepted, accept_batch, key_in_batch
from gateway.flows.admin.tenants import delete_tenant
from gateway.store.work import jobs
from tests.flows.world import World
from tests.store.blocking import blocked


def batch_of(
    world: World, tenant: Tenant, count: int, key: str = "", body: bytes = b"body"
) -> list[NewJob]:
    """Jobs as the API makes them of a request, under an idempotency key where one is given."""
    keyed = [
        {"idempotency_key": key_in_batch(key, place), "request_hash": body} if key else {}
        for place in range(count)
    ]
    return [
        world.order(tenant, batch_name="b", name=f"{n}", **one).job for n, one in enumerate(keyed)
    ]


async def accept(world: World, batch: Sequence[NewJob], max_queued: int = 1000) -> BatchAccepted:
    return await accept_batch(world.deps, batch, Limits(max_queued=max_queued))


async def stored(world: World) -> list[tuple[UUID, str]]:
    return [(row.id, row.name) for row in await world.rows("SELECT id, name FROM job ORDER BY id")]


async def test_all_are_stored_in_the_order_given(world: World):
    tenant = await world.tenant()
    batch = batch_of(world, tenant, 120)
    world.queue.wakes.clear()
    accepted = await accept(world, batch)
    assert accepted == BatchAccepted([job.id for job in batch])
    assert await stored(world) == [(job.id, job.name) for job in batch]
    assert world.queue.wakes == [("submit", 0.0)]
    assert await world.states() == {"accepted": 120}
    while await world.submit():
        pass
    assert await world.states() == {"submitted": 120}


async def test_one_bad_job_leaves_none(world: World):
    tenant = await world.tenant()
    good = batch_of(world, tenant, 3)
    bad = replace(good[0], id=uuid7(), params="{")
    with pytest.raises(GatewayError, match="cannot be stored"):
        await accept(world, [*good, bad])
    assert await stored(world) == []


@pytest.mark.parametrize(("waiting", "room"), [(0, 4), (3, 1), (4, 0), (6, 0)])
async def test_a_batch_that_the_queue_has_no_room_for_is_refused_whole(
    world: World, waiting: int, room: int
):
    tenant = await world.tenant()
    await world.accept(tenant, waiting)
    with pytest.raises(QueueFull, match=f"has {waiting} of 4 jobs waiting") as full:
        await accept(world, batch_of(world, tenant, 5), max_queued=4)
    assert (full.value.quota, full.value.room, full.value.retry_after) == (4, room, 5)
    assert len(await stored(world)) == waiting
    if room:
        await accept(world, batch_of(world, tenant, room), max_queued=4)
        assert len(await stored(world)) == 4


async def test_the_queue_of_others_is_not_counted(world: World):
    tenant, other = await world.tenant(), await world.tenant("other")
    await world.accept(other, 5)
    await accept(world, batch_of(world, tenant, 3), max_queued=3)
    assert await world.states() == {"accepted": 8}


# --- The same request again ----------------------------------------------------------------------


async def test_the_same_key_answers_the_same_ids(world: World):
    tenant = await world.tenant()
    first = await accept(world, batch_of(world, tenant, 3, "k"), max_queued=3)
    world.queue.wakes.clear()
    again = await accept(world, batch_of(world, tenant, 3, "k"), max_queued=3)
    assert again == BatchAccepted(list(first.ids), replayed=True)
    assert world.queue.wakes == []
    other = await accept(world, batch_of(world, await world.tenant("other"), 3, "k"))
    assert not other.replayed
    assert not set(other.ids) & set(first.ids)


@pytest.mark.parametrize(("count", "body"), [(3, b"other"), (4, b"body")])
async def test_a_key_with_another_body_is_refused(world: World, count: int, body: bytes):
    tenant = await world.tenant()
    await accept(world, batch_of(world, tenant, 3, "k"))
    with pytest.raises(IdempotencyKeyReused, match="Idempotency-Key: it was used before"):
        await accept(world, batch_of(world, tenant, count, "k", body))
    assert len(await stored(world)) == 3


async def test_the_key_of_a_batch_is_none_for_a_job(world: World):
    tenant = await world.tenant()
    await accept(world, batch_of(world, tenant, 2, "k"))
    with pytest.raises(IdempotencyKeyReused):
        await world.acceptor.accept(world.order(tenant, idempotency_key="k", request_hash=b"h"))
    assert len(await stored(world)) == 2


async def test_of_many_at_once_one_makes_the_jobs(world: World):
    tenant = await world.tenant()
    made = await asyncio.gather(
        *(accept(world, batch_of(world, tenant, 20, "k")) for _ in range(5))
    )
    assert {tuple(one.ids) for one in made} == {tuple(made[0].ids)}
    assert sorted(one.replayed for one in made) == [False, True, True, True, True]
    assert len(await stored(world)) == 20


@pytest.mark.parametrize("body", [b"body", b"other"])
async def test_who_is_overtaken_is_answered_as_who_comes_later(world: World, body: bytes):
    tenant = await world.tenant()
    quick, slow = batch_of(world, tenant, 3, "k"), batch_of(world, tenant, 3, "k", body)
    async with world.deps.db.begin() as tx:
        await jobs.insert(tx, quick)
        overtaken = await blocked(world.deps.db, accept(world, slow))
    if body == b"body":
        assert await overtaken == BatchAccepted([job.id for job in quick], replayed=True)
    else:
        with pytest.raises(IdempotencyKeyReused):
            await overtaken
    assert len(await stored(world)) == 3


async def test_who_waited_for_one_that_was_rolled_back_makes_the_jobs(world: World):
    tenant = await world.tenant()
    batch = batch_of(world, tenant, 3, "k")

    waiting: list[asyncio.Task[BatchAccepted]] = []

    async def change_its_mind() -> None:
        async with world.deps.db.begin() as tx:
            await jobs.insert(tx, batch_of(world, tenant, 3, "k"))
            waiting.append(await blocked(world.deps.db, accept(world, batch)))
            raise _GoneError

    with pytest.raises(_GoneError):
        await change_its_mind()
    assert await waiting[0] == BatchAccepted([job.id for job in batch])


class _GoneError(Exception):
    pass


async def test_a_tenant_that_was_erased_meanwhile_has_no_key_any_more(world: World):
    tenant = await world.tenant()
    batch = batch_of(world, tenant, 3)
    await delete_tenant(world.deps, "test", tenant.slug)
    with pytest.raises(Unauthorized, match="does not exist any more"):
        await accept(world, batch)
    assert await stored(world) == []


async def test_a_process_that_dies_before_the_commit_stores_nothing(world: World):
    tenant = await world.tenant()
    batch, seen = batch_of(world, tenant, 3, "k"), list[str]()

    def die(point: str) -> None:
        seen.append(point)
        if point == "batch.inserted":
            raise _GoneError

    with pytest.raises(_GoneError):
        await accept_batch(world.other_process(crash_point=die).deps, batch, Limits(max_queued=9))
    assert await stored(world) == []
    await accept_batch(
        world.other_process(crash_point=seen.append).deps, batch, Limits(max_queued=9)
    )
    assert seen == ["batch.inserted", "batch.inserted", "batch.committed"]
