"""Rows of jobs: short, in order, page by page."""

from gateway.core.model import JobState
from gateway.core.text.cursor import PageCursor
from gateway.flows.read.job_rows import job_rows
from gateway.store.job_search.filter import JobFilter
from tests.flows.world import World


async def test_a_row_has_what_a_list_shows(world: World):
    tenant = await world.tenant()
    [job_id] = await world.accept(tenant, 1)
    [row] = (await job_rows(world.deps, JobFilter((tenant.id,)), PageCursor(), 5)).rows
    assert (row.id, row.tenant, row.state) == (job_id, tenant.slug, JobState.ACCEPTED)
    assert (row.error_code, row.error_message, row.completed_at, row.seconds) == (None,) * 4


async def test_an_ended_job_has_its_duration_and_its_error(world: World):
    tenant = await world.tenant()
    [job_id] = await world.accept(tenant, 1)
    await world.run(
        "UPDATE job SET state = 'failed', completed_at = created_at + interval '2 seconds',"
        f""" error = '{{"code":"BAD_INPUT","message":"{"x" * 500}"}}' WHERE id = '{job_id}'"""
    )
    [row] = (await job_rows(world.deps, JobFilter((tenant.id,)), PageCursor(), 5)).rows
    assert (row.error_code, row.error_message, row.seconds) == ("BAD_INPUT", "x" * 300, 2.0)


async def test_pages_follow_each_other(world: World):
    tenant = await world.tenant()
    ids = sorted(await world.accept(tenant, 5), reverse=True)
    first = await job_rows(world.deps, JobFilter((tenant.id,)), PageCursor(), 3)
    second = await job_rows(world.deps, JobFilter((tenant.id,)), PageCursor(first.next), 3)
    assert [row.id for row in (*first.rows, *second.rows)] == ids
    assert (first.next, second.next) == (ids[2], None)


async def test_no_job_is_no_row(world: World):
    assert await job_rows(world.deps, JobFilter(()), PageCursor(), 3) == ([], None)
