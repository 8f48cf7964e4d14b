"""Export: who stops reading leaves nothing under way."""

import json
from contextlib import aclosing

import pytest

from gateway.flows import export
from gateway.flows.export import export_jobs, export_tenant
from gateway.store.job_filter import JobFilter
from tests.flows.world import HOOK, World


@pytest.mark.parametrize("size", [3, 9], ids=["full", "last"])
async def test_who_leaves_at_a_page_leaves_no_other_under_way(
    world: World, monkeypatch: pytest.MonkeyPatch, size: int
):
    monkeypatch.setattr(export, "PAGE", size)
    tenant = await world.tenant()
    await world.accept(tenant, 7)
    async with aclosing(export_jobs(world.deps, JobFilter((tenant.id,)), None)) as pages:
        assert len(await anext(pages)) == min(size, 7)
    assert [page async for page in pages] == []
    async with aclosing(export_jobs(world.deps, JobFilter((tenant.id,)), None)) as pages:
        assert sum([len(page) async for page in pages]) == 7


async def test_of_no_tenants_there_are_no_jobs(world: World):
    await world.accept(await world.tenant())
    assert [page async for page in export_jobs(world.deps, JobFilter(()), None)] == []


async def test_all_of_a_tenant_comes_in_pages(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "PAGE", 2)
    tenant = await world.tenant(hook=HOOK)
    ids = await world.ended(tenant, 5)
    await world.ended(await world.tenant("other"))
    pages = [page async for page in export_tenant(world.deps, tenant)]
    assert max(len(page) for page in pages) == 2
    found = [json.loads(line) for page in pages for line in page]
    assert {one["id"] for one in found if one["kind"] == "job"} == set(map(str, ids))
    assert {one["kind"] for one in found} >= {"tenant", "endpoint", "job", "event", "delivery"}
    assert "other" not in json.dumps(found)
