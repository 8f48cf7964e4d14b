import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.core.events import job_json, json_text
from gateway.core.uuid7 import first_id
from gateway.store.database import Tx
from gateway.store.job_search import lists
from gateway.store.job_search.csv_and_json_columns import MARK
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.lists import NewNote, Note
from gateway.store.work import jobs, settlement
from gateway.store.work.settlement import JobEnd
from tests.builders import add_jobs, add_tenant, ids_in, put

AT = datetime(2026, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)
LATEST = datetime.max.replace(tzinfo=UTC)


async def page(
    tx: Tx, wanted: JobFilter, before: UUID | None = None, offset: int = 0, limit: int = 100
) -> list[UUID]:
    found = await lists.page(tx, wanted, "json", before=before, offset=offset, size=limit)
    return ids_in(found)


# --- Lists --------------------------------------------------------------------------------------


async def test_jobs_come_newest_first_with_the_json_of_a_single_job(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_jobs(tx, tenant, 3, metadata='{"a":"b"}')
    assert await page(tx, JobFilter((tenant,))) == ids[::-1]
    newest = await lists.page(tx, JobFilter((tenant,)), "json", before=None, size=1)
    job = await jobs.find(tx, tenant, ids[2])
    assert job is not None
    before, workflow, after = newest.texts[0].removesuffix(",").split(MARK)
    assert workflow == f"{tenant}{json_text(job.workflow)}"
    assert before + json_text(job.workflow) + after == job_json(job)


async def test_pages_skip_nothing_while_jobs_are_added_and_deleted(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_jobs(tx, tenant, 25)
    seen: list[UUID] = []
    while found := await page(tx, JobFilter((tenant,)), seen[-1] if seen else None, limit=7):
        seen += found
        await add_jobs(tx, tenant, 2)
        await jobs.delete(tx, tenant, seen[0], 30.0)
    assert seen == ids[::-1]


async def test_an_offset_skips_jobs(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_jobs(tx, tenant, 5)
    assert await page(tx, JobFilter((tenant,)), offset=2, limit=2) == ids[2:0:-1]
    assert await page(tx, JobFilter((tenant,)), offset=5) == []
    assert await page(tx, JobFilter((tenant,)), ids[3], 1, 1) == [ids[1]]


async def test_only_jobs_of_the_named_tenants_are_shown(tx: Tx) -> None:
    one, other, third = [await add_tenant(tx) for _ in range(3)]
    mine, theirs, last = [(await add_jobs(tx, owner))[0] for owner in (one, other, third)]
    assert set(await page(tx, JobFilter((one, third)))) == {mine, last}
    assert set(await page(tx, JobFilter(None))) == {mine, theirs, last}
    assert await page(tx, JobFilter(())) == []
    only = await lists.page(tx, JobFilter((other,)), "json", before=None, size=9)
    assert f'"tenant":"t-{other.hex}"' in only.texts[0]


async def test_deleted_jobs_are_not_shown(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_jobs(tx, tenant)
    await jobs.delete(tx, tenant, job_id, 30.0)
    assert await page(tx, JobFilter((tenant,))) == []


# The fields that filters check, with values that pass all filters and values that do not.
SHAPES: dict[str, dict[str, Any]] = {
    "yes": {
        "workflow": "w1",
        "batch_name": "b1",
        "name": "n1",
        "metadata": '{"k":"v1","l":"x","n":7}',
    },
    "no": {"workflow": "w3", "batch_name": None, "name": "n3", "metadata": '{"k":"v3","l":"y"}'},
}
FILTERS: dict[str, Any] = {
    "states": ("failed", "running"),
    "workflows": ("w1", "w2"),
    "batch_names": ("b1", "b2"),
    "names": ("n1", "n2"),
    "error_codes": ("E1", "E2"),
    "metadata": (("k", ("v1", "v2")), ("l", ("x",)), ("n", ("7",))),
    "created_after": AT - DAY,
    "created_before": AT + DAY,
    "completed_after": AT,
    "completed_before": AT + 2 * DAY,
}


def id_at(at: datetime) -> UUID:
    """A new id as of a time."""
    fresh = uuid7()
    return UUID(int=first_id(at).int | fresh.int & (1 << 80) - 1)


async def add_shaped(tx: Tx, tenant: UUID, **differs: Any) -> UUID:
    """Add a job that passes all filters, except for the fields in which it differs."""
    how = {
        "state": "failed",
        "code": "E1",
        "made": AT,
        "ended": AT + DAY,
        **SHAPES["yes"],
        **differs,
    }
    accepted = {name: how[name] for name in ("workflow", "batch_name", "name", "metadata")}
    (job_id,) = await add_jobs(tx, tenant, id=id_at(how["made"]), **accepted)
    error = f'{{"code":"{how["code"]}"}}' if how["code"] else None
    await settlement.finish(tx, [JobEnd(job_id, how["state"], None, error, None, None)])
    await put(tx, "job", job_id, created_at=how["made"], completed_at=how["ended"])
    return job_id


OUTSIDERS: dict[str, list[dict[str, Any]]] = {
    "states": [{"state": "expired"}],
    "workflows": [{"workflow": "w3"}],
    "batch_names": [{"batch_name": "b3"}, {"batch_name": None}],
    "names": [{"name": "n3"}],
    "error_codes": [{"code": "E3"}, {"code": None}],
    "metadata": [
        {"metadata": '{"k":"v3","l":"x","n":7}'},
        {"metadata": '{"k":"v1","n":7}'},
        {"metadata": '{"k":"v1","l":"x","n":8}'},
        {"metadata": "{}"},
    ],
    "created_after": [{"made": AT - 2 * DAY}, {"made": AT - DAY}],
    "created_before": [{"made": AT + 2 * DAY}, {"made": AT + DAY}],
    "completed_after": [{"ended": AT}, {"ended": AT - DAY}],
    "completed_before": [{"ended": AT + 2 * DAY}],
}


@pytest.mark.parametrize("name", FILTERS)
async def test_each_filter_keeps_the_jobs_that_match_it(tx: Tx, name: str) -> None:
    tenant = await add_tenant(tx)
    inside = await add_shaped(tx, tenant)
    for differs in OUTSIDERS[name]:
        await add_shaped(tx, tenant, **differs)
    found = await page(tx, JobFilter((tenant,), **{name: FILTERS[name]}))
    assert found == [inside]
    assert len(await page(tx, JobFilter((tenant,)))) == 1 + len(OUTSIDERS[name])


@pytest.mark.parametrize("kind", ["created", "completed"])
async def test_times_are_compared_in_whole_milliseconds(tx: Tx, kind: str) -> None:
    """So that a filter by the displayed time of the last job continues with the next one."""
    tenant, shown = await add_tenant(tx), AT + timedelta(milliseconds=514)
    stored, step = shown + timedelta(microseconds=700), timedelta(milliseconds=1)
    await add_shaped(tx, tenant, **{"made" if kind == "created" else "ended": stored})
    for side, at, found in (
        ("after", shown - step, 1),
        ("after", shown, 0),
        ("after", shown + step / 2, 0),
        ("before", shown, 0),
        ("before", shown + step / 2, 1),
        ("before", shown + step, 1),
        ("before", LATEST, 1),
        ("after", LATEST, 0),
    ):
        asked: dict[str, Any] = {f"{kind}_{side}": at}
        assert len(await page(tx, JobFilter((tenant,), **asked))) == found, (side, at)


async def test_all_filters_together_keep_the_jobs_that_match_each(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    soon = [AT + timedelta(seconds=n) for n in range(3)]
    inside = [await add_shaped(tx, tenant, made=made) for made in soon]
    for differs in itertools.chain.from_iterable(OUTSIDERS.values()):
        await add_shaped(tx, tenant, **differs)
    wanted = JobFilter((tenant,), **FILTERS)
    assert await page(tx, wanted) == inside[::-1]
    assert await page(tx, wanted, inside[2], 1, 5) == [inside[0]]


async def test_values_of_a_filter_are_never_sql(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    strange = "x'; DROP TABLE job; --$1"
    (job_id,) = await add_jobs(tx, tenant, name=strange, metadata=f'{{"{strange}":"{strange}"}}')
    wanted = JobFilter((tenant,), names=(strange,), metadata=((strange, (strange,)),))
    assert await page(tx, wanted) == [job_id]


# --- Timelines ----------------------------------------------------------------------------------


async def test_a_timeline_is_in_order_and_only_its_tenant_reads_it(tx: Tx) -> None:
    tenant, other, job_id = await add_tenant(tx), await add_tenant(tx), uuid7()
    new = [NewNote(uuid7(), tenant, job_id, f"type{n}", f"detail{n}") for n in range(3)]
    await lists.add_notes(tx, [*new[::-1], NewNote(uuid7(), tenant, uuid7(), "x", "y")])
    row = await tx.row("SELECT now()")
    assert row is not None
    found = await lists.notes(tx, tenant, job_id)
    assert found == [Note(row[0], note.type, note.detail) for note in new]
    assert await lists.notes(tx, other, job_id) == []


# --- Size of a page -----------------------------------------------------------------------------

_RANDOM = "(SELECT string_agg(md5(random()::text || n), '') FROM generate_series(1, 2000) AS n)"


@pytest.mark.parametrize("text", ["repeat('ab', 32000)", _RANDOM], ids=["compressed", "apart"])
@pytest.mark.parametrize("column", ["params", "result"])
async def test_a_page_of_large_jobs_ends_early(tx: Tx, text: str, column: str) -> None:
    tenant = await add_tenant(tx)
    ids = sorted([*await add_jobs(tx, tenant, 120), *await add_jobs(tx, tenant, 40)], reverse=True)
    large = f"UPDATE job SET {column} = json_build_object('a', {text}) WHERE id = ANY($1::uuid[])"
    await tx.run(large, [id_ for id_ in ids if ids.index(id_) not in range(5, 120)])
    seen, sizes, before, more = list[UUID](), list[int](), None, True
    while more:
        page = await lists.page(
            tx, JobFilter((tenant,)), "json", before=before, size=1_000, most=300_000
        )
        assert page.jobs == len(ids_in(page))
        seen, before, more = seen + ids_in(page), page.last, page.more
        assert before == seen[-1]
        sizes.append(sum(map(len, page.texts)))
    assert seen == ids
    assert 250_000 < max(sizes) < 700_000
    assert len(sizes) < 20


async def test_a_page_has_at_least_one_job(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_jobs(tx, tenant, 3, params='{"a":"%s"}' % ("x" * 9_000))
    page = await lists.page(tx, JobFilter((tenant,)), "json", before=None, size=9, most=1)
    assert (ids_in(page), page.more) == ([max(ids)], True)
