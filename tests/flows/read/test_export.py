"""Exports: a reader that stops leaves nothing under way, and pages stay small."""

import csv
import hashlib
import io
import json
from contextlib import aclosing
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.core.policy import Policy
from gateway.core.text.cursor import PageCursor
from gateway.flows.read.export import export_jobs, export_tenant, job_page
from gateway.store.job_search import lists
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.lists import NOTHING, NewNote
from tests.builders import ids_in
from tests.flows.world import HOOK, World


@pytest.mark.parametrize("size", [3, 9], ids=["full", "last"])
async def test_a_reader_that_stops_at_a_page_leaves_no_other_under_way(world: World, size: int):
    deps = world.other_process(policy=Policy(export_page=size)).deps
    tenant = await world.tenant()
    await world.accept(tenant, 7)
    async with aclosing(export_jobs(deps, JobFilter((tenant.id,)), "ndjson", None)) as pages:
        assert (await anext(pages)).jobs == min(size, 7)
    assert [page async for page in pages] == []
    async with aclosing(export_jobs(deps, JobFilter((tenant.id,)), "ndjson", None)) as pages:
        assert sum([page.jobs async for page in pages]) == 7


async def test_large_jobs_come_in_small_pages(world: World):
    deps = world.other_process(policy=Policy(export_page=4, export_bytes=4_000)).deps
    tenant = await world.tenant()
    small = await world.accept(tenant, 6)
    large = await world.accept(tenant, 6, params='{"a":"%s"}' % ("x" * 1_500))
    plain = "".join(hashlib.sha256(b"%d" % n).hexdigest() for n in range(150))  # does not compress
    huge = await world.accept(tenant, 6, params=f'{{"a":"{plain}"}}')
    wanted = JobFilter((tenant.id,))
    pages = [page async for page in export_jobs(deps, wanted, "csv", None)]
    rows = csv.reader(io.StringIO("".join(text for page in pages for text in page.texts)))
    assert [UUID(row[0]) for row in rows] == sorted(small + large + huge, reverse=True)
    sizes = [page.jobs for page in pages]
    assert sizes[:5] == [1, 1, 1, 1, 1]
    assert max(sizes) == 4


async def test_a_page_is_of_the_tenants_that_are_named(world: World):
    tenant, other = await world.tenant(), await world.tenant("other")
    ids, others = await world.accept(tenant, 3), await world.accept(other, 2)

    async def page(tenants: tuple[UUID, ...] | None, before: UUID | None = None) -> list[UUID]:
        wanted = JobFilter(tenants)
        found = await job_page(world.deps, wanted, "json", PageCursor(before), offset=1, size=9)
        return ids_in(found)

    assert await page(None) == sorted(ids + others, reverse=True)[1:]
    assert await page((tenant.id,)) == sorted(ids, reverse=True)[1:]
    assert await page((tenant.id,), max(ids)) == sorted(ids, reverse=True)[2:]


async def test_an_empty_list_of_tenants_has_no_jobs(world: World):
    await world.accept(await world.tenant())
    idle = await world.tenant("idle")
    for tenants in ((), (idle.id,)):
        wanted = JobFilter(tenants)
        assert await job_page(world.deps, wanted, "json", PageCursor(), size=9) == NOTHING
        pages = export_jobs(world.deps, JobFilter(tenants), "csv", None)
        assert [page async for page in pages] == []


async def test_all_of_a_tenant_comes_in_pages(world: World):
    deps = world.other_process(policy=Policy(export_page=2)).deps
    tenant = await world.tenant(hook=HOOK)
    ids = await world.ended(tenant, 5)
    async with world.deps.db.begin() as tx:
        await lists.add_notes(tx, [NewNote(uuid7(), tenant.id, one, "t", "d") for one in ids])
    await world.ended(await world.tenant("other"))
    pages = [page async for page in export_tenant(deps, tenant)]
    assert max(len(page) for page in pages) == 2
    found = [json.loads(line) for page in pages for line in page]
    assert {one["id"] for one in found if one["kind"] == "job"} == set(map(str, ids))
    kinds = {"tenant", "endpoint", "job", "note", "event", "delivery"}
    assert {one["kind"] for one in found} >= kinds
    assert len([one for one in found if one["kind"] == "note"]) == 5
    assert "other" not in json.dumps(found)
