"""Reads over many jobs: lists, the timeline of one, usage, events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Job
from gateway.store.engine import Tx
from gateway.store.jobs import COLUMNS, job_of

_NOTE = """
INSERT INTO job_event (id, tenant_id, job_id, type, detail)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])"""

_NOTES = """
SELECT at, type, detail FROM job_event WHERE tenant_id = $1 AND job_id = $2 ORDER BY id"""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a list of jobs shows; an empty tuple does not filter, tenants None means all."""

    tenants: tuple[UUID, ...] | None
    states: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()
    batch_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    error_codes: tuple[str, ...] = ()
    metadata: tuple[tuple[str, tuple[str, ...]], ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    completed_after: datetime | None = None
    completed_before: datetime | None = None


class UsageRow(NamedTuple):
    """One group of usage; `group` holds the values of the columns asked for, in their order."""

    group: tuple[object, ...]
    jobs: int
    wait_seconds: float
    run_seconds: float


class Note(NamedTuple):
    """Something unusual in the life of a job."""

    at: datetime
    type: str
    detail: str


async def page(
    tx: Tx, wanted: JobFilter, *, before: UUID | None, offset: int, limit: int
) -> list[Job]:
    """Jobs, newest first: those older than `before`, after skipping `offset`."""
    conditions, arguments = _conditions(wanted)
    if before is not None:
        arguments.append(before)
        conditions.append(f"j.id < ${len(arguments)}")
    arguments += [limit, offset]
    sql = (
        f"SELECT {COLUMNS} FROM job j JOIN tenant t ON t.id = j.tenant_id"
        f" WHERE {' AND '.join(conditions)}"
        f" ORDER BY j.id DESC LIMIT ${len(arguments) - 1} OFFSET ${len(arguments)}"
    )
    return [job_of(row) for row in await tx.rows(sql, *arguments)]


def _conditions(wanted: JobFilter) -> tuple[list[str], list[object]]:
    conditions, arguments = ["j.deleted_at IS NULL"], list[object]()
    choices: list[tuple[str, Sequence[object] | None]] = [
        ("j.tenant_id = ANY($::uuid[])", wanted.tenants),
        ("j.state = ANY($::text[])", wanted.states or None),
        ("j.workflow = ANY($::text[])", wanted.workflows or None),
        ("j.batch_name = ANY($::text[])", wanted.batch_names or None),
        ("j.name = ANY($::text[])", wanted.names or None),
        ("j.error->>'code' = ANY($::text[])", wanted.error_codes or None),
    ]
    for sql, values in choices:
        if values is not None:
            arguments.append(list(values))
            conditions.append(sql.replace("$", f"${len(arguments)}"))
    for key, values in wanted.metadata:
        arguments += [key, list(values)]
        conditions.append(f"j.metadata->>${len(arguments) - 1} = ANY(${len(arguments)}::text[])")
    bounds = [
        ("j.created_at >", wanted.created_after),
        ("j.created_at <", wanted.created_before),
        ("j.completed_at >", wanted.completed_after),
        ("j.completed_at <", wanted.completed_before),
    ]
    for sql, at in bounds:
        if at is not None:
            arguments.append(at)
            conditions.append(f"{sql} ${len(arguments)}")
    return conditions, arguments


# The columns that usage may be grouped by.
USAGE_GROUPS = {
    "tenant": "t.slug",
    "hour": "h.hour",
    "day": "date_trunc('day', h.hour, 'UTC')",
    "month": "date_trunc('month', h.hour, 'UTC')",
    "workflow": "h.workflow",
    "status": "h.status",
    "errorCode": "h.error_code",
}


async def usage(
    tx: Tx,
    group_by: Sequence[str],
    tenants: Sequence[UUID] | None,
    since: datetime | None,
    until: datetime | None,
) -> list[UsageRow]:
    """Sums of ended jobs from the roll-up, by names of USAGE_GROUPS, for hours from..until."""
    columns = [USAGE_GROUPS[name] for name in group_by]
    grouping = f" GROUP BY {', '.join(columns)} ORDER BY {', '.join(columns)}" if columns else ""
    sql = (
        f"SELECT {''.join(f'{column}, ' for column in columns)}"
        " COALESCE(sum(h.jobs), 0)::bigint, COALESCE(sum(h.wait_seconds), 0)::float8,"
        " COALESCE(sum(h.run_seconds), 0)::float8"
        " FROM usage_hour h JOIN tenant t ON t.id = h.tenant_id"
        " WHERE ($1::uuid[] IS NULL OR h.tenant_id = ANY($1))"
        " AND ($2::timestamptz IS NULL OR h.hour >= $2)"
        f" AND ($3::timestamptz IS NULL OR h.hour < $3){grouping}"
    )
    ids = None if tenants is None else list(tenants)
    rows = [tuple(row) for row in await tx.rows(sql, ids, since, until)]
    return [UsageRow(row[:-3], row[-3], row[-2], row[-1]) for row in rows]


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
