"""Export: all that a filter shows, or all that is a tenant's, page by page in constant memory."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from gateway.core.model import Tenant
from gateway.flows.deps import Deps
from gateway.store import export, history
from gateway.store.engine import Tx
from gateway.store.history import NOTHING, Page
from gateway.store.job_filter import JobFilter
from gateway.store.job_lines import Form

PAGE = 1_000
_PAGE_CHARACTERS = 4_000_000
_FIRST = 100  # before it is known how large they are


def reading(deps: Deps, tenants: Sequence[UUID] | None) -> AbstractAsyncContextManager[Tx]:
    """A transaction that sees what is of these tenants, or of all for None."""
    return deps.db.begin() if tenants is None else deps.db.of(*tenants)


async def job_page(
    deps: Deps, wanted: JobFilter, form: Form, *, before: UUID | None, offset: int = 0, size: int
) -> Page:
    """Jobs, newest first: those older than `before`, after skipping `offset`."""
    if wanted.tenants == ():  # to name no tenants would let all be seen
        return NOTHING
    async with reading(deps, wanted.tenants) as tx:
        return await history.page(tx, wanted, form, before=before, offset=offset, size=size)


async def export_jobs(
    deps: Deps, wanted: JobFilter, form: Form, before: UUID | None
) -> AsyncGenerator[Page]:
    """All jobs of a filter as text, newest first: 1,000 a page, or about 4 MB.

    No transaction is open while a page is dealt with, however long that takes. A job that is there
    all the time is in exactly one page.
    """

    async def after(page: Page | None) -> Page:
        last, size = (before, min(_FIRST, PAGE)) if page is None else (page.last, _fitting(page))
        return await job_page(deps, wanted, form, before=last, size=size)

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


def _fitting(page: Page) -> int:
    """How many jobs as large as these make a page."""
    size = sum(map(len, page.texts))
    return max(min(page.jobs * _PAGE_CHARACTERS // size, PAGE), 1)


async def export_tenant(deps: Deps, tenant: Tenant) -> AsyncGenerator[list[str]]:
    """All that is kept of a tenant, as JSON objects with a `kind` and no secrets, in pages.

    What is made while it runs may be in it or not.
    """
    for kind in export.KINDS:
        page: export.Page | None = None
        while page is None or page.next is not None:
            async with deps.db.begin() as tx:
                page = await export.page(tx, kind, tenant.id, page and page.next, PAGE)
            if page.lines:
                yield page.lines
