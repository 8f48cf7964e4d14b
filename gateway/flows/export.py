"""Export: all that a filter shows, or all that is a tenant's, page by page in constant memory."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar
from uuid import UUID

from gateway.core.model import Tenant
from gateway.flows.deps import Deps
from gateway.store import export, history
from gateway.store.engine import Tx
from gateway.store.history import Line, Lines
from gateway.store.job_filter import JobFilter
from gateway.store.job_lines import Form

PAGE = 1_000
_PAGE_CHARACTERS = 4_000_000

P = TypeVar("P", bound=Sequence[object])


def reading(deps: Deps, tenants: Sequence[UUID] | None) -> AbstractAsyncContextManager[Tx]:
    """A transaction that sees what is of these tenants, or of all for None."""
    return deps.db.begin() if tenants is None else deps.db.of(*tenants)


async def job_page(
    deps: Deps, wanted: JobFilter, *, before: UUID | None, offset: int, limit: int
) -> list[Line]:
    """Jobs, newest first: those older than `before`, after skipping `offset`."""
    if wanted.tenants == ():  # to name no tenants would let all be seen
        return []
    async with reading(deps, wanted.tenants) as tx:
        return await history.page(tx, wanted, before=before, offset=offset, limit=limit)


async def export_jobs(
    deps: Deps, wanted: JobFilter, form: Form, before: UUID | None
) -> AsyncGenerator[list[Lines]]:
    """All jobs of a filter as text, newest first: 1,000 a page, or about 4 MB.

    No transaction is open while a page is dealt with, however long that takes. A job that is there
    all the time is in exactly one page.
    """
    limit = PAGE

    async def after(page: list[Lines] | None) -> list[Lines]:
        nonlocal limit
        last = before
        if page is not None:
            last, limit = page[-1].last, _fitting(page)
        async with reading(deps, wanted.tenants) as tx:
            return await history.lines(tx, wanted, form, before=last, limit=limit)

    if wanted.tenants == ():  # to name no tenants would let all be seen
        return
    async for page in _ahead(after, lambda page: _jobs(page) == limit):
        yield page


def _jobs(page: list[Lines]) -> int:
    return sum(part.jobs for part in page)


def _fitting(page: list[Lines]) -> int:
    """How many jobs as large as these make a page."""
    size = sum(len(part.text) for part in page)
    return max(min(_jobs(page) * _PAGE_CHARACTERS // size, PAGE), 1)


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
