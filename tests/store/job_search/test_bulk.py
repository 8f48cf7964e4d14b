"""The rows of a bulk operation on jobs: counted once, then taken in order."""

from uuid import UUID, uuid4

from gateway.store.database import Tx
from gateway.store.job_search import bulk
from gateway.store.job_search.filter import JobFilter
from tests.builders import add_jobs, add_tenant, put


async def take(
    tx: Tx, wanted: JobFilter, until: UUID, *, after: UUID | None = None, limit: int = 9
) -> list[UUID]:
    found = await bulk.next_jobs(tx, wanted, after=after, until=until, limit=limit)
    return [job_id for _, job_id in found]


async def test_jobs_are_counted_with_the_newest_of_them(tx: Tx) -> None:
    mine, other = await add_tenant(tx), await add_tenant(tx)
    ids = await add_jobs(tx, mine, 3, workflow="v")
    await add_jobs(tx, mine, workflow="w")
    theirs = await add_jobs(tx, other, 2, workflow="v")
    assert await bulk.count(tx, JobFilter((mine,), workflows=("v",))) == (3, ids[-1])
    assert await bulk.count(tx, JobFilter(None, workflows=("v",))) == (5, theirs[-1])
    assert await bulk.count(tx, JobFilter((mine,), workflows=("x",))) == (0, None)
    assert await bulk.count(tx, JobFilter(())) == (0, None)


async def test_jobs_are_taken_oldest_first_and_batch_by_batch(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_jobs(tx, tenant, 5)
    later = await add_jobs(tx, tenant, 2)
    wanted = JobFilter((tenant,))
    assert await take(tx, wanted, ids[-1]) == ids
    assert await take(tx, wanted, ids[-1], limit=2) == ids[:2]
    assert await take(tx, wanted, ids[-1], after=ids[1], limit=2) == ids[2:4]
    assert await take(tx, wanted, ids[-1], after=ids[3]) == ids[4:]
    assert await take(tx, wanted, ids[-1], after=ids[-1]) == []
    assert await take(tx, wanted, later[-1], after=ids[-1]) == later
    assert await bulk.next_jobs(tx, wanted, after=None, until=ids[0], limit=9) == [(tenant, ids[0])]


async def test_what_a_filter_does_not_show_any_more_is_not_taken(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_jobs(tx, tenant, 3, metadata='{"a":"1"}')
    await put(tx, "job", ids[0], state="succeeded")
    await put(tx, "job", ids[1], deleted_at=0)
    open_ones = JobFilter((tenant,), states=("accepted",), metadata=(("a", ("1", "2")),))
    assert await take(tx, open_ones, ids[-1]) == ids[2:]
    assert await bulk.count(tx, open_ones) == (1, ids[2])
    assert await take(tx, JobFilter((uuid4(),)), ids[-1]) == []
