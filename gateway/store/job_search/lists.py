"""Pages of jobs as text, and the notes in the timeline of a job."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.job_search.csv_and_json_columns import LINES, Form, size_of, summary_with
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.search import search
from gateway.store.job_search.statement import StatementPart
from gateway.store.statement import Query, Statement, columns

# A page ends early, with a link to the next one, at about this size.
PAGE_BYTES = 4_000_000
# The approximate size of one text of a page.
_SLICE = 262_144

_IS_SMALL = " AND ".join(
    f"(j.{name} IS NULL OR (pg_column_size(j.{name}) < 8000 AND"
    f" pg_column_compression(j.{name}) IS NULL))"
    for name in ("params", "result")
)
_JOBS = """
      FROM unnest(ids[p.last + 1:least(p.last + p.step, {size})])
        WITH ORDINALITY AS u(id, place)
      JOIN job j ON j.id = u.id JOIN tenant t ON t.id = j.tenant_id"""
# Each step renders the next hundred jobs at once if all of them are small. If one is large, the step renders
# none, and the next step renders the same jobs up to the size of a text.
_PAGE = f"""
WITH RECURSIVE found AS MATERIALIZED (SELECT ARRAY({{found}}) AS ids),
part(last, step, bytes, is_small, jobs, text) AS (
  SELECT 0, 100, 0::bigint, TRUE, 0, NULL::text
  UNION ALL
  SELECT p.last + l.jobs, least(100, 2 * l.jobs + 4), p.bytes + COALESCE(octet_length(l.text), 0),
    l.is_small, l.jobs, l.text
  FROM part p CROSS JOIN found CROSS JOIN LATERAL (
    SELECT l.lines = l.jobs AS is_small, CASE WHEN l.lines = l.jobs THEN l.jobs ELSE 0 END AS jobs,
      CASE WHEN l.lines = l.jobs THEN l.text END AS text
    FROM (
      SELECT count(*)::int AS jobs, count(l.line) AS lines, string_agg(l.line, '') AS text
      FROM (SELECT CASE WHEN {_IS_SMALL} THEN {{line}} END AS line {_JOBS} WHERE p.is_small
        ORDER BY u.place) AS l) AS l
    WHERE p.is_small
    UNION ALL
    SELECT count(*) FILTER (WHERE NOT j.is_small) = 0, count(*) FILTER (WHERE j.fits)::int,
      string_agg({{line}}, '') FILTER (WHERE j.fits)
    FROM (
      SELECT j.*, t.slug AS tenant_slug, t.name AS tenant_name, {_IS_SMALL} AS is_small,
        sum({size_of("j")}) OVER (ORDER BY u.place ROWS UNBOUNDED PRECEDING) - ({size_of("j")})
          < least({_SLICE}, {{most}} - p.bytes) AS fits {_JOBS} WHERE NOT p.is_small) AS j
    CROSS JOIN LATERAL (SELECT j.tenant_slug AS slug, j.tenant_name AS name) AS t
    HAVING NOT p.is_small) AS l
  WHERE p.last < least({{size}}, cardinality(ids)) AND p.bytes < {{most}})
SELECT text, jobs, ids[last], last < cardinality(ids)
FROM part CROSS JOIN found WHERE jobs > 0 ORDER BY last"""


class Note(NamedTuple):
    """An unusual event in the life of a job, for its timeline."""

    at: datetime
    type: str
    detail: str


class Page(NamedTuple):
    """Jobs as text, newest first, up to a hundred in each text; and whether there are more."""

    texts: Sequence[str]
    jobs: int
    last: UUID | None
    more: bool


NOTHING = Page((), 0, None, more=False)

_NOTES = Query(
    """
SELECT at, type, detail FROM job_event
WHERE tenant_id = :tenant_id AND job_id = :job_id ORDER BY id""",
    Note,
)

_ADD_NOTES = Statement(
    """
INSERT INTO job_event (id, tenant_id, job_id, type, detail)
SELECT * FROM unnest(:id::uuid[], :tenant_id::uuid[], :job_id::uuid[], :type::text[],
  :detail::text[])"""
)


async def page(
    tx: Tx,
    wanted: JobFilter,
    form: Form,
    *,
    before: UUID | None,
    offset: int = 0,
    size: int,
    most: int = PAGE_BYTES,
    keys: Sequence[str] = (),
) -> Page:
    """Jobs older than the id `before`, newest first, by keyset paging; `offset` of them are skipped.

    Up to `size` jobs, fewer where they come to more than about `most` bytes, but at least one. The rest of
    the transaction is planned without sorts and scans of whole tables. A summary has the values of these
    `keys` of the metadata.
    """
    found, arguments = await search(
        tx, wanted, StatementPart(size + 1, offset=offset, below=before)
    )
    caps = {"size": arguments.add(size, "int"), "most": arguments.add(most, "bigint")}
    line = summary_with(arguments.add(list(keys), "text[]")) if keys else LINES[form]
    sql = _PAGE.format(found=found, line=line, **caps)
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
    """Add notes to the timelines of jobs."""
    await _ADD_NOTES.run(tx, **columns(NewNote, notes))


async def notes(tx: Tx, tenant_id: UUID, job_id: UUID) -> list[Note]:
    """The notes in the timeline of a job, in order."""
    return await _NOTES.rows(tx, tenant_id=tenant_id, job_id=job_id)
