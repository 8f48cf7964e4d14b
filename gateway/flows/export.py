"""Export: all that a filter shows, or all that is a tenant's, page by page in constant memory."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar
from uuid import UUID

from gateway.core.model import Job, Tenant
from gateway.flows.deps import Deps
from gateway.store import export, history
from gateway.store.engine import Tx
from gateway.store.job_filter import JobFilter

PAGE = 1_000

P = TypeVar("P", bound=Sequence[object])


def reading(deps: Deps, tenants: Sequence[UUID] | None) -> AbstractAsyncContextManager[Tx]:
    """A transaction that sees what is of these tenants, or of all for None."""
    return deps.db.begin() if tenants is None else deps.db.of(*tenants)


async def job_page(
    deps: Deps, wanted: JobFilter, *, before: UUID | None, offset: int, limit: int
) -> list[Job]:
    """Jobs, newest first: those older than `before`, after skipping `offset`."""
    if wanted.tenants == ():  # to name no tenants would let all be seen
        return []
    async with reading(deps, wanted.tenants) as tx:
        return await history.page(tx, wanted, before=before, offset=offset, limit=limit)


async def export_jobs(
    deps: Deps, wanted: JobFilter, before: UUID | None
) -> AsyncGenerator[list[Job]]:
    """All jobs of a filter, newest first, in pages of 1,000.

    No transaction is open while a page is dealt with, however long that takes. A job that is there
    all the time is in exactly one page.
    """

    async def after(page: list[Job] | None) -> list[Job]:
        last = before if page is None else page[-1].id
        return await job_page(deps, wanted, before=last, offset=0, limit=PAGE)

    async for page in _ahead(after, lambda page: len(page) == PAGE):
        yield page


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


async def _ahead(
    after: Callable[[P | None], Coroutine[None, None, P]], is_full: Callable[[P], bool]
) -> AsyncGenerator[P]:
    """Pages, each with the next one under way while it is dealt with."""
    page = await after(None)
    while page:
        coming = asyncio.create_task(after(page)) if is_full(page) else None
        try:
            yield page
        except BaseException:
            if coming is not None:
                coming.cancel()
                await asyncio.wait({coming})
            raise
        if coming is None:
            return
        page = await coming
