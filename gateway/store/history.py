"""Reads over many jobs: lists, and the timeline of one."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Job
from gateway.store.engine import Tx
from gateway.store.job_filter import JobFilter
from gateway.store.job_search import search
from gateway.store.job_ways import Part
from gateway.store.jobs import COLUMNS, job_of

_NOTE = """
INSERT INTO job_event (id, tenant_id, job_id, type, detail)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])"""

_NOTES = """
SELECT at, type, detail FROM job_event WHERE tenant_id = $1 AND job_id = $2 ORDER BY id"""


class Note(NamedTuple):
    """Something unusual in the life of a job."""

    at: datetime
    type: str
    detail: str


async def page(
    tx: Tx, wanted: JobFilter, *, before: UUID | None, offset: int, limit: int
) -> list[Job]:
    """Jobs, newest first: those older than `before`, after skipping `offset`.

    Takes a transaction, the rest of which is planned without sorts and scans of whole tables.
    """
    part = Part(limit, offset=offset, below=before)
    found, arguments = await search(tx, wanted, part)
    sql = (
        f"SELECT {COLUMNS} FROM ({found}) AS found JOIN job j ON j.id = found.id"
        " JOIN tenant t ON t.id = j.tenant_id ORDER BY j.id DESC"
    )
    return [job_of(row) for row in await tx.rows(sql, *arguments)]


class NewNote(NamedTuple):
    """A note to be added to the timeline of a job."""

    id: UUID
    tenant_id: UUID
    job_id: UUID
    type: str
    detail: str


async def add_notes(tx: Tx, notes: Sequence[NewNote]) -> None:
    """Add unusual things to the timelines of jobs."""
    await tx.run(_NOTE, *(list(column) for column in zip(*notes, strict=True)))


async def notes(tx: Tx, tenant_id: UUID, job_id: UUID) -> list[Note]:
    """The unusual things in the life of a job, in order."""
    return [Note(*row) for row in await tx.rows(_NOTES, tenant_id, job_id)]
