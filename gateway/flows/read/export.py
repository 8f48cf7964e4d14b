"""Exports: the jobs that a filter selects, or all data of a tenant, in constant memory.

They run while a caller downloads. Pages follow each other by keyset paging. No transaction is open
between pages of jobs, so a slow reader holds nothing up. A crash ends the download, and the caller
starts it again. A page that fails on the replica is read from the primary.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from uuid import UUID

from gateway.core.model import Tenant
from gateway.core.policy import Policy
from gateway.core.replica.freshness import needed
from gateway.core.text.cursor import PageCursor
from gateway.flows.deps import Deps
from gateway.flows.process.history_reader import HistoryReader
from gateway.store import tenant_export
from gateway.store.database import Database, Tx
from gateway.store.job_search import lists
from gateway.store.job_search.csv_and_json_columns import Form
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.lists import NOTHING, Page
from gateway.store.tenant_export import ExportPage

# Rows that belong to others are read so many at a time; an attempt may have 64 kB.
_PARTS = 100


def reading(database: Database, tenants: Sequence[UUID] | None) -> AbstractAsyncContextManager[Tx]:
    """A transaction that sees only these tenants (row-level security), or all for None."""
    return database.begin() if tenants is None else database.of(*tenants)


async def job_page(
    deps: Deps,
    wanted: JobFilter,
    form: Form,
    cursor: PageCursor,
    *,
    offset: int = 0,
    size: int,
    keys: Sequence[str] = (),
) -> Page:
    """A page of a list of jobs, newest first, from a place in it, after the first `offset` jobs.

    It ends at `size` jobs or about 4 MB, but has at least one job if there is any. A summary has the
    values of these `keys` of the metadata.
    """
    now = deps.clock.now()
    made = (wanted.created_after, wanted.created_before)
    ended = (wanted.completed_after, wanted.completed_before)
    # An offset counts rows, and skips some where the newest are missing.
    reader = deps.history(now if offset else needed(now, cursor, made, ended))
    return await _page(
        reader, wanted, form, before=cursor.last, offset=offset, size=size, keys=keys
    )


async def _page(
    reader: HistoryReader,
    wanted: JobFilter,
    form: Form,
    *,
    before: UUID | None,
    offset: int = 0,
    size: int,
    most: int = lists.PAGE_BYTES,
    keys: Sequence[str] = (),
) -> Page:
    if wanted.tenants == ():  # an empty list must not mean all tenants
        return NOTHING

    async def read(database: Database) -> Page:
        async with reading(database, wanted.tenants) as tx:
            return await lists.page(
                tx, wanted, form, before=before, offset=offset, size=size, most=most, keys=keys
            )

    return await reader.read(read)


async def export_jobs(
    deps: Deps, wanted: JobFilter, form: Form, before: UUID | None
) -> AsyncGenerator[Page]:
    """All jobs of a filter as text, newest first, in pages of 1,000 jobs or about 1 MB.

    No transaction is open while the caller handles a page. A job that exists all the time is in
    exactly one page.
    """
    reader = await deps.history_to_now()

    async def after(page: Page | None) -> Page:
        last = before if page is None else page.last
        size, most = deps.policy.export_page, deps.policy.export_bytes
        return await _page(reader, wanted, form, before=last, size=size, most=most)

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
    reader = await deps.history_to_now()
    for kind in tenant_export.KINDS:
        page: ExportPage | None = None
        while page is None or page.next is not None:
            page = await reader.read(partial(_rows, deps.policy, kind, tenant.id, page))
            if page.lines:
                yield page.lines
            async for lines in _parts(reader, kind, tenant.id, page.ids):
                yield lines


async def _parts(
    reader: HistoryReader, kind: str, tenant_id: UUID, ids: Sequence[object]
) -> AsyncGenerator[list[str]]:
    page: ExportPage | None = None
    while page is None or page.next is not None:
        page = await reader.read(partial(_rows_of, kind, tenant_id, ids, page))
        if page.lines:
            yield page.lines


async def _rows(
    policy: Policy, kind: str, tenant_id: UUID, last: ExportPage | None, database: Database
) -> ExportPage:
    limit, most = policy.export_page, policy.export_bytes
    async with database.begin() as tx:
        after = last and last.next
        return await tenant_export.page(tx, kind, tenant_id, after, limit=limit, most=most)


async def _rows_of(
    kind: str, tenant_id: UUID, ids: Sequence[object], last: ExportPage | None, database: Database
) -> ExportPage:
    async with database.begin() as tx:
        after = last and last.next
        return await tenant_export.parts(tx, kind, tenant_id, ids, after, limit=_PARTS)
