"""Shared reads: one question for many, and nobody is told of what is not theirs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from gateway.flows.settle.batched_reads import BatchedReads
from gateway.flows.upstream.delete_job import delete_job
from gateway.store.database import Database, Tx
from gateway.store.work import jobs
from tests.flows.world import World


class _Counting(Database):
    """A database that knows whom it was asked for."""

    def __init__(self, world: World) -> None:
        super().__init__(world.deps.db._engine, world.deps.db._connector)
        self.asked_for: list[set[UUID]] = []

    @asynccontextmanager
    async def of(self, *tenant_ids: UUID) -> AsyncIterator[Tx]:
        self.asked_for.append(set(tenant_ids))
        async with super().of(*tenant_ids) as tx:
            yield tx


@pytest.fixture
def db(world: World) -> _Counting:
    return _Counting(world)


@pytest.fixture
def reads(world: World, db: _Counting) -> BatchedReads:
    return BatchedReads(replace(world.deps, db=db))


async def test_each_is_given_its_own_job_of_one_question(
    world: World, db: _Counting, reads: BatchedReads
):
    acme, globex = await world.tenant(), await world.tenant("globex")
    wanted = [(acme.id, one) for one in await world.accept(acme, 3)]
    wanted += [(globex.id, one) for one in await world.accept(globex, 2)]
    wanted.append(wanted[0])
    found = await asyncio.gather(*(reads.job(*one) for one in wanted))
    assert [job and (job.tenant_id, job.id) for job in found] == wanted
    assert db.asked_for == [{acme.id, globex.id}]


async def test_a_job_of_another_tenant_is_never_handed_out(
    world: World, db: _Counting, reads: BatchedReads
):
    acme, globex = await world.tenant(), await world.tenant("globex")
    mine, theirs = await world.accept_one(acme), await world.accept_one(globex)
    # One question for all of them, so that each job is among its answers.
    wanted = [(acme.id, theirs), (globex.id, theirs), (globex.id, mine), (acme.id, mine)]
    found = await asyncio.gather(*(reads.job(*one) for one in wanted))
    assert [job and job.id for job in found] == [None, theirs, None, mine]
    assert await reads.job(acme.id, theirs) is None
    assert db.asked_for == [{acme.id, globex.id}, {acme.id}]


async def test_what_is_not_there_is_nobodys(world: World, reads: BatchedReads):
    tenant = await world.tenant()
    gone = await world.accept_one(tenant)
    await delete_job(world.deps, tenant.id, gone)
    found = await asyncio.gather(reads.job(tenant.id, gone), reads.job(tenant.id, uuid4()))
    assert found == [None, None]


async def test_many_are_read_in_few_questions(world: World, db: _Counting, reads: BatchedReads):
    tenant = await world.tenant()
    ids = await world.accept(tenant, 5)
    found = await asyncio.gather(*(reads.job(tenant.id, ids[n % 5]) for n in range(1_000)))
    assert [job and job.id for job in found] == ids * 200
    assert len(db.asked_for) == 5


async def test_places_in_the_queues_are_counted_together(
    world: World, db: _Counting, reads: BatchedReads
):
    acme, globex = await world.tenant(), await world.tenant("globex")
    ids = [*await world.accept(acme, 3), *await world.accept(globex, 2)]
    async with world.deps.db.single() as tx:
        listed = {job.id: job for job in await jobs.find_all(tx, ids)}
    order = [*sorted(ids[:3]), *sorted(ids[3:])]
    places = await asyncio.gather(*(reads.ahead(listed[job_id]) for job_id in order))
    assert places == [0, 1, 2, 0, 1]
    assert db.asked_for == [{acme.id, globex.id}]
    await delete_job(world.deps, acme.id, ids[0])
    await world.run("DELETE FROM job_event")
    await world.run("DELETE FROM job WHERE id = $1", ids[0])
    assert await reads.ahead(listed[ids[0]]) == 0
