"""The rows of a bulk operation on jobs."""

from uuid import UUID

from gateway.store.database import Tx
from gateway.store.job_search import search as job_search
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.search import search
from gateway.store.job_search.statement import StatementPart


async def count(tx: Tx, wanted: JobFilter) -> tuple[int, UUID | None]:
    """How many jobs there are, and the newest of them."""
    found, arguments = await search(tx, wanted, StatementPart(1))
    newest = await tx.row(found, *arguments)
    return await job_search.count(tx, wanted), newest.id if newest else None


async def next_jobs(
    tx: Tx, wanted: JobFilter, *, after: UUID | None, until: UUID, limit: int
) -> list[tuple[UUID, UUID]]:
    """The next jobs as (tenant, job), oldest first, from after one up to another."""
    part = StatementPart(limit, above=after, below=UUID(int=until.int + 1), newest_first=False)
    found, arguments = await search(tx, wanted, part)
    rows = await tx.rows(
        f"SELECT j.tenant_id, j.id FROM ({found}) AS found JOIN job j ON j.id = found.id"
        " ORDER BY j.id",
        *arguments,
    )
    return [(row.tenant_id, row.id) for row in rows]
