"""Export: all that a filter shows, or all that is a tenant's, page by page in constant memory."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from gateway.core.model import Tenant
from gateway.flows.deps import Deps
from gateway.store import export
from gateway.store.database import Tx
from gateway.store.job_search import lists
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.lists import NOTHING, Page
from gateway.store.job_search.render import Form

# What hangs on rows is read so many at a time; an attempt may have 64 kB.
_PARTS = 100


def reading(deps: Deps, tenants: Sequence[UUID] | None) -> AbstractAsyncContextManager[Tx]:
    """A transaction that sees what is of these tenants, or of all for None."""
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
    """Jobs, newest first: those older than `before`, after skipping `offset`.

    Fewer than `size` where they come to about `most` bytes, but one at least.
    """
    if wanted.tenants == ():  # to name no tenants would let all be seen
        return NOTHING
    async with reading(deps, wanted.tenants) as tx:
        return await lists.page(
            tx, wanted, form, before=before, offset=offset, size=size, most=most
        )


async def export_jobs(
    deps: Deps, wanted: JobFilter, form: Form, before: UUID | None
) -> AsyncGenerator[Page]:
    """All jobs of a filter as text, newest first: 1,000 a page, or about 1 MB.

    No transaction is open while a page is dealt with, however long that takes. A job that is there
    all the time is in exactly one page.
    """

    async def after(page: Page | None) -> Page:
        last = before if page is None else page.last
        size, most = deps.policy.export_page, deps.policy.export_bytes
        return await job_page(deps, wanted, form, before=last, size=size, most=most)

    page = await after(None)
    while page.jobs:
        # Each with the next one under way while it is dealt with.
        coming = asyncio.create_task(after(page)) if page.more else None
        try:
            yield page
        except BaseException:
            if coming is not None:
                coming.cancel()
                await asyncio.wait({coming})
            raise
        page = NOTHING if coming is None else await coming


async def export_tenant(deps: Deps, tenant: Tenant) -> AsyncGenerator[list[str]]:
    """All that is kept of a tenant, as JSON objects with a `kind` and no secrets, in pages.

    What is made while it runs may be in it or not.
    """
    limit, most = deps.policy.export_page, deps.policy.export_bytes
    for kind in export.KINDS:
        page: export.ExportPage | None = None
        while page is None or page.next is not None:
            async with deps.db.begin() as tx:
                after = page and page.next
                page = await export.page(tx, kind, tenant.id, after, limit=limit, most=most)
            if page.lines:
                yield page.lines
            async for lines in _parts(deps, kind, tenant.id, page.ids):
                yield lines


async def _parts(
    deps: Deps, kind: str, tenant_id: UUID, ids: Sequence[object]
) -> AsyncGenerator[list[str]]:
    page: export.ExportPage | None = None
    while page is None or page.next is not None:
        async with deps.db.begin() as tx:
            after = page and page.next
            page = await export.parts(tx, kind, tenant_id, ids, after, limit=_PARTS)
        if page.lines:
            yield page.lines
