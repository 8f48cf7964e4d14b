"""Reads over many jobs: lists, and the timeline of one."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.engine import Tx
from gateway.store.job_filter import JobFilter
from gateway.store.job_lines import LINES, Form
from gateway.store.job_search import search
from gateway.store.job_statement import Part

_NOTE = """
INSERT INTO job_event (id, tenant_id, job_id, type, detail)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])"""

_NOTES = """
SELECT at, type, detail FROM job_event WHERE tenant_id = $1 AND job_id = $2 ORDER BY id"""


# The sort at the end has them sent at once: a row at a time, both ends of the connection wake each
# other up for every few jobs, which costs more than to write them.
_PAGE = """
WITH found AS MATERIALIZED (SELECT ARRAY({found}) AS ids)
SELECT part.text, part.jobs, ids[least(start + 99, {size}, cardinality(ids))],
  cardinality(ids) > {size}
FROM found CROSS JOIN generate_series(1, least({size}, cardinality(ids)), 100) AS start
CROSS JOIN LATERAL (
  SELECT count(*) AS jobs, string_agg(l.line, '') AS text FROM (
    SELECT {line} AS line
    FROM unnest(ids[start:least(start + 99, {size})]) WITH ORDINALITY AS u(id, place)
    JOIN job j ON j.id = u.id JOIN tenant t ON t.id = j.tenant_id ORDER BY u.place) AS l) AS part
ORDER BY start"""


class Note(NamedTuple):
    """Something unusual in the life of a job."""

    at: datetime
    type: str
    detail: str


class Page(NamedTuple):
    """Jobs as text, newest first, a hundred in each of the texts; whether there are more."""

    texts: Sequence[str]
    jobs: int
    last: UUID | None
    more: bool


NOTHING = Page((), 0, None, more=False)


async def page(
    tx: Tx, wanted: JobFilter, form: Form, *, before: UUID | None, offset: int = 0, size: int
) -> Page:
    """Jobs, newest first: those older than `before`, after skipping `offset`.

    Takes a transaction, the rest of which is planned without sorts and scans of whole tables.
    """
    found, arguments = await search(tx, wanted, Part(size + 1, offset=offset, below=before))
    sql = _PAGE.format(found=found, line=LINES[form], size=arguments.add(size, "int"))
    rows = await tx.rows(sql, *arguments)
    if not rows:
        return NOTHING
    texts, jobs, ids, more = zip(*rows, strict=True)
    return Page(texts, sum(jobs), ids[-1], more=more[-1])


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
