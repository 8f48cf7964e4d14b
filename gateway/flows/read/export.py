"""Exports: the jobs that a filter selects, or all data of a tenant, in constant memory.

They run while a caller downloads. Pages follow each other by keyset paging. No transaction is open
between pages of jobs, so a slow reader holds nothing up. A crash ends the download, and the caller
starts it again.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from gateway.core.model import Tenant
from gateway.flows.deps import Deps
from gateway.store import tenant_export
from gateway.store.database import Tx
from gateway.store.job_search import lists
from gateway.store.job_search.csv_and_json_columns import Form
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.lists import NOTHING, Page

# Rows that belong to others are read so many at a time; an attempt may have 64 kB.
_PARTS = 100


def reading(deps: Deps, tenants: Sequence[UUID] | None) -> AbstractAsyncContextManager[Tx]:
    """A transaction that sees only these tenants (row-level security), or all for None."""
    return deps.db.begin() if tenants is None else deps.db.of(*tenants)


async def job_page(
    deps: Deps,
    wanted: JobFilter,
    form: Form,
    *,
    before: UUID | None,
    offset: int = 0,
    size: int,
    most: int = lists.PAGE_BYTES,
) -> Page:
    """A page of jobs, newest first: those older than `before`, after the first `offset` of them.

    It ends at `size` jobs or about `most` bytes, but has at least one job if there is any.
    """
    if wanted.tenants == ():  # an empty list must not mean all tenants
        return NOTHING
    async with reading(deps, wanted.tenants) as tx:
        return await lists.page(
            tx, wanted, form, before=before, offset=offset, size=size, most=most
        )


async def export_jobs(
    deps: Deps, wanted: JobFilter, form: Form, before: UUID | None
) -> AsyncGenerator[Page]:
    """All jobs of a filter as text, newest first, in pages of 1,000 jobs or about 1 MB.

    No transaction is open while the caller handles a page. A job that exists all the time is in
    exactly one page.
    """

    async def after(page: Page | None) -> Page:
        last = before if page is None else page.last
        size, most = deps.policy.export_page, deps.policy.export_bytes
        return await job_page(deps, wanted, form, before=last, size=size, most=most)

    page = await after(None)
    while page.jobs:
        # The next page is read while the caller handles this one.
        next_page = asyncio.create_task(after(page)) if page.more else None
        try:
            yield page
        except BaseException:
            if next_page is not None:
                next_page.cancel()
                await asyncio.wait({next_page})
            raise
        page = NOTHING if next_page is None else await next_page


async def export_tenant(deps: Deps, tenant: Tenant) -> AsyncGenerator[list[str]]:
    """All data of a tenant without secrets, in pages of JSON objects with a `kind`.

    Rows that are added meanwhile may be in it or not.
    """
    limit, most = deps.policy.export_page, deps.policy.export_bytes
    for kind in tenant_export.KINDS:
        page: tenant_export.ExportPage | None = None
        while page is None or page.next is not None:
            async with deps.db.begin() as tx:
                after = page and page.next
                page = await tenant_export.page(tx, kind, tenant.id, after, limit=limit, most=most)
            if page.lines:
                yield page.lines
            async for lines in _parts(deps, kind, tenant.id, page.ids):
                yield lines


async def _parts(
    deps: Deps, kind: str, tenant_id: UUID, ids: Sequence[object]
) -> AsyncGenerator[list[str]]:
    page: tenant_export.ExportPage | None = None
    while page is None or page.next is not None:
        async with deps.db.begin() as tx:
            after = page and page.next
            page = await tenant_export.parts(tx, kind, tenant_id, ids, after, limit=_PARTS)
        if page.lines:
            yield page.lines
