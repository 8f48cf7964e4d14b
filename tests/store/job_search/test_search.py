"""Every index path finds the jobs that a check of each job finds."""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from gateway.core.model import STATUS_STATES, JobState
from gateway.core.uuid7 import first_id
from gateway.store.database import AnyRow, Database, Tx
from gateway.store.job_search import indexes, lists, search, statement
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.lists import NOTHING
from gateway.store.retention import prune
from gateway.store.work import jobs, settlement
from gateway.store.work.settlement import JobEnd
from tests.builders import add_jobs, add_tenant, ids_in, new_job, put

STATES = [state.value for state in JobState]
FAILED = [state.value for state in STATUS_STATES["FAILED"]]
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Past(NamedTuple):
    """Jobs of some tenants, newest first, with the fields that a filter can check."""

    tenants: list[UUID]
    jobs: Sequence[AnyRow]


async def add_past(tx: Tx, chance: random.Random) -> Past:
    """Sixty jobs of four tenants, an hour apart, some of them deleted."""
    tenants = [await add_tenant(tx, credential=False) for _ in range(4)]
    for n in range(60):
        made = START + n * HOUR
        state, code = chance.choice(STATES), chance.choice(["E1", "E2"])
        row = (
            UUID(int=first_id(made).int + n),
            chance.choice(tenants),
            state,
            chance.choice("nm"),
            chance.choice(["b", "c", None]),
            chance.choice("vw"),
            f'{{"k":"{chance.choice("xy")}","n":{chance.choice("12")},"o":null}}',
            f'{{"code":"{code}"}}' if state in FAILED else None,
            made,
            made + chance.randrange(1, 30) * HOUR if STATES.index(state) > 3 else None,
            made if chance.random() < 0.2 else None,
        )
        await tx.run(
            "INSERT INTO job (id, tenant_id, state, name, batch_name, workflow, params, metadata,"
            " error, created_at, completed_at, deleted_at, deadline_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, '{}', $7, $8, $9, $10, $11, $9)",
            *row,
        )
    found = await tx.rows(
        "SELECT *, error->>'code' AS code, metadata->>'k' AS k, metadata->>'n' AS n FROM job"
        " WHERE tenant_id = ANY($1) AND deleted_at IS NULL ORDER BY id DESC",
        tenants,
    )
    return Past(tenants, found)


def any_filter(chance: random.Random, past: Past) -> JobFilter:
    """A filter of up to four conditions, of some tenants."""
    hours = sorted(chance.sample(range(80), 2))
    after, before = (START + hour * HOUR for hour in hours)
    options: dict[str, Any] = {
        "states": tuple(chance.choices(STATES, k=3)),
        "workflows": tuple(chance.choices("vwz", k=2)),
        "batch_names": ("b",),
        "names": ("n", "n"),
        "error_codes": tuple(chance.choices(["E1", "E2", "E3"], k=2)),
        "metadata": chance.choice([(("k", ("x",)),), (("k", ("x", "y")), ("n", ("2",)))]),
        "created_after": after,
        "created_before": before,
        "completed_after": after,
        "completed_before": before,
    }
    chosen = chance.sample(sorted(options), k=chance.randrange(5))
    if chance.random() < 0.1:
        chosen, options["ids"] = [*chosen, "ids"], tuple(row.id for row in past.jobs[::3])
    tenants = chance.sample(past.tenants, k=chance.randrange(1, 5))
    return JobFilter(tuple(tenants), **{name: options[name] for name in chosen})


def fits(wanted: JobFilter, row: AnyRow) -> bool:
    """Whether a filter selects a job."""
    choices = [
        (row.state, wanted.states),
        (row.workflow, wanted.workflows),
        (row.batch_name, wanted.batch_names),
        (row.name, wanted.names),
        (row.code, wanted.error_codes),
        *((row[key], values) for key, values in wanted.metadata),
        (row.tenant_id, wanted.tenants or ()),
    ]
    longest = datetime.max.replace(tzinfo=UTC)
    ended = row.completed_at
    return (
        all(value in values for value, values in choices if values)
        and (not wanted.ids or row.id in wanted.ids)
        and (wanted.created_after or START - HOUR) < row.created_at
        and row.created_at < (wanted.created_before or longest)
        and (ended is not None or not (wanted.completed_after or wanted.completed_before))
        and (ended is None or (wanted.completed_after or START) < ended)
        and (ended is None or ended < (wanted.completed_before or longest))
    )


LIMITS: dict[str, dict[str, Any]] = {
    "as they are": {},
    "few tenants": {"_MOST_TENANTS": 0},
    "short walks": {"_WALK": 3, "_FEW": 0, "_FURTHER": (1, 9)},
    "short walks through all": {
        "_MOST_TENANTS": 0,
        "_WALK_OF_ALL": 3,
        "_FEW": 0,
        "_FURTHER": (1, 9),
    },
    "long walks through all": {"_MOST_TENANTS": 0, "_FEW": 0},
}


@pytest.mark.parametrize("limits", LIMITS)
async def test_a_search_finds_the_jobs_that_fit_in_every_order_and_part(
    tx: Tx, monkeypatch: pytest.MonkeyPatch, limits: str
) -> None:
    for name, value in LIMITS[limits].items():
        modules = (search, statement, indexes)
        (module,) = [module for module in modules if hasattr(module, name)]
        monkeypatch.setattr(module, name, value)
    chance = random.Random(7)
    past = await add_past(tx, chance)
    for _ in range(60):
        wanted = any_filter(chance, past)
        ids = [row.id for row in past.jobs if fits(wanted, row)]
        limit, offset = chance.randrange(1, 9), chance.choice([0, 0, 2])
        before = chance.choice([None, past.jobs[chance.randrange(len(past.jobs))].id])
        below = [id_ for id_ in ids if before is None or id_ < before]
        page = await lists.page(tx, wanted, "json", before=before, offset=offset, size=limit)
        assert ids_in(page) == below[offset : offset + limit], wanted
        assert page.more == (len(below) > offset + limit), wanted

        assert await search.count_and_newest(tx, wanted) == (len(ids), ids[0] if ids else None), (
            wanted
        )
        after, until = before, past.jobs[chance.randrange(20)].id
        oldest = [id_ for id_ in ids[::-1] if (after is None or id_ > after) and id_ <= until]
        batch = await search.next_jobs(tx, wanted, after=after, until=until, limit=limit)
        assert [id_ for _, id_ in batch] == oldest[:limit], wanted


async def test_a_filter_without_tenants_searches_all(tx: Tx) -> None:
    past = await add_past(tx, random.Random(8))
    for wanted in (
        JobFilter(None),
        JobFilter(None, workflows=("v",)),
        JobFilter(None, states=("failed",), names=("n",)),
        JobFilter(None, states=tuple(STATES), workflows=("v",)),
    ):
        ids = [row.id for row in past.jobs if fits(wanted, row)]
        found = await lists.page(tx, wanted, "json", before=None, size=100)
        assert ids_in(found) == ids
    assert await lists.page(tx, JobFilter(()), "json", before=None, size=9) == NOTHING


# --- Bulk operations ----------------------------------------------------------------------------


async def next_ids(
    tx: Tx, wanted: JobFilter, until: UUID, *, after: UUID | None = None, limit: int = 9
) -> list[UUID]:
    found = await search.next_jobs(tx, wanted, after=after, until=until, limit=limit)
    return [job_id for _, job_id in found]


async def test_the_jobs_of_a_filter_are_counted_and_the_newest_is_found(tx: Tx) -> None:
    mine, other = await add_tenant(tx), await add_tenant(tx)
    ids = await add_jobs(tx, mine, 3, workflow="v")
    await add_jobs(tx, mine, workflow="w")
    theirs = await add_jobs(tx, other, 2, workflow="v")
    assert await search.count_and_newest(tx, JobFilter((mine,), workflows=("v",))) == (3, ids[-1])
    assert await search.count_and_newest(tx, JobFilter(None, workflows=("v",))) == (5, theirs[-1])
    assert await search.count_and_newest(tx, JobFilter((mine,), workflows=("x",))) == (0, None)
    assert await search.count_and_newest(tx, JobFilter(())) == (0, None)


async def test_the_next_jobs_come_oldest_first_in_batches(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_jobs(tx, tenant, 5)
    later = await add_jobs(tx, tenant, 2)
    wanted = JobFilter((tenant,))
    assert await next_ids(tx, wanted, ids[-1]) == ids
    assert await next_ids(tx, wanted, ids[-1], limit=2) == ids[:2]
    assert await next_ids(tx, wanted, ids[-1], after=ids[1], limit=2) == ids[2:4]
    assert await next_ids(tx, wanted, ids[-1], after=ids[3]) == ids[4:]
    assert await next_ids(tx, wanted, ids[-1], after=ids[-1]) == []
    assert await next_ids(tx, wanted, later[-1], after=ids[-1]) == later
    assert await search.next_jobs(tx, wanted, after=None, until=ids[0], limit=9) == [
        (tenant, ids[0])
    ]


async def test_jobs_that_no_longer_match_are_not_among_the_next(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_jobs(tx, tenant, 3, metadata='{"a":"1"}')
    await put(tx, "job", ids[0], state="succeeded")
    await put(tx, "job", ids[1], deleted_at=0)
    open_ones = JobFilter((tenant,), states=("accepted",), metadata=(("a", ("1", "2")),))
    assert await next_ids(tx, open_ones, ids[-1]) == ids[2:]
    assert await search.count_and_newest(tx, open_ones) == (1, ids[2])
    assert await next_ids(tx, JobFilter((uuid4(),)), ids[-1]) == []


# --- Labels -------------------------------------------------------------------------------------


async def labels(tx: Tx) -> int:
    return (await tx.one("SELECT count(*) FROM job_label"))[0]


async def shown(tx: Tx, tenant: UUID, **wanted: Any) -> list[UUID]:
    return ids_in(await lists.page(tx, JobFilter((tenant,), **wanted), "json", before=None, size=9))


async def test_a_job_is_found_by_its_error_once_it_has_ended(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    one, other = await add_jobs(tx, tenant, 2)
    for job_id, error in ((one, '{"code":"E"}'), (other, None)):
        await settlement.finish(tx, [JobEnd(job_id, "failed", None, error, None, None)])
    assert await shown(tx, tenant, error_codes=("E",)) == [one]


async def drop_by_deletion(tx: Tx, tenant: UUID, job_id: UUID) -> None:
    await jobs.delete(tx, tenant, job_id, 30.0)
    await jobs.delete(tx, tenant, job_id, 30.0)


async def drop_by_pruning(tx: Tx, tenant: UUID, job_id: UUID) -> None:
    await prune.prune(tx, tenant, "jobs", [job_id])


@pytest.mark.parametrize("drop", [drop_by_deletion, drop_by_pruning])
async def test_the_labels_of_a_removed_job_are_removed(tx: Tx, drop: Callable[..., Any]) -> None:
    tenant = await add_tenant(tx)
    await add_jobs(tx, tenant)
    before = await labels(tx)
    (gone,) = await add_jobs(tx, tenant, batch_name="b", metadata='{"a":"1","b":[2],"c":null}')
    assert await labels(tx) == before + 4
    await settlement.finish(tx, [JobEnd(gone, "failed", None, '{"code":"E"}', None, None)])
    assert await labels(tx) == before + 5
    await drop(tx, tenant, gone)
    assert await labels(tx) == before
    assert await shown(tx, tenant, batch_names=("b",)) == []


async def test_labels_separate_keys_from_values(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    texts = ('{"ab":"c"}', '{"a":"bc"}', '{"a":{"b": "c"}}', '{"é":"c"}', '{"a":true}')
    ids = [(await add_jobs(tx, tenant, metadata=text))[0] for text in texts]
    pairs = (("ab", "c"), ("a", "bc"), ("a", '{"b": "c"}'), ("é", "c"), ("a", "true"))
    for job_id, (key, value) in zip(ids, pairs, strict=True):
        assert await shown(tx, tenant, metadata=((key, (value,)),)) == [job_id]


# --- Order --------------------------------------------------------------------------------------


async def test_paging_shows_each_earlier_job_once_while_others_are_added(db: Database) -> None:
    """Several processes make ids before they commit, so ids do not appear in their order."""
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        there = set(await add_jobs(tx, tenant, 40))
    going = True

    async def add() -> None:
        while going:
            late = [new_job(tenant), new_job(tenant)]
            async with db.begin() as tx:
                await jobs.insert(tx, late[1:])
                await asyncio.sleep(0.002)
            async with db.begin() as tx:  # the older id is committed last
                await jobs.insert(tx, late[:1])

    adding = [asyncio.create_task(add()) for _ in range(2)]
    for _ in range(3):
        async with db.begin() as tx:
            there |= {row.id for row in await tx.rows("SELECT id FROM job")}
        seen, more = list[UUID](), True
        while more:
            async with db.of(tenant) as tx:
                page = await lists.page(
                    tx, JobFilter((tenant,)), "json", before=seen[-1] if seen else None, size=7
                )
            seen, more = seen + ids_in(page), page.more
            assert page.last == seen[-1]
        assert seen == sorted(set(seen), reverse=True)
        assert there <= set(seen)
    going = False
    await asyncio.gather(*adding)
