"""Jobs as callers and accept see them: insert, find, delete."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Job, JobState, NewJob
from gateway.store.database import AnyRow, Tx

# When a submit or a look-up is tried next, where that is set for a time to come. What is due, or at the
# upstream, has none of its own.
NEXT_AT = "CASE WHEN j.state IN ('accepted', 'submitting') AND j.next_at > now() THEN j.next_at END"

# How far the upstream's clock must be off, if it says that a job was made before it was sent, or after
# that was recorded.
_OFFSET = """CASE WHEN u.made_at < j.sent_at THEN j.sent_at - u.made_at
    WHEN u.made_at > j.submitted_at THEN j.submitted_at - u.made_at ELSE interval '0' END"""


def our_time(column: str) -> str:
    """A time of the upstream by our clock: neither before the job `j` was made nor to come; or null."""
    told = f"LEAST(GREATEST({column} + {_OFFSET}, j.created_at), now())"
    return f"CASE WHEN {column} IS NOT NULL THEN {told} END"


COLUMNS = f"""
  j.id, j.tenant_id, t.slug, t.name AS app, j.name, j.batch_name, j.workflow, j.params,
  j.copy_results_to, j.metadata, j.callback_url, j.state, j.result, j.error, j.created_at,
  j.submitted_at, j.started_at, j.completed_at, j.deadline_at, {NEXT_AT}, j.credential_id,
  j.upstream_id, j.submit_attempts, j.priority, j.version, j.retry_of"""
_STATE = 11
_FARTHEST = 10_000

_INSERT = """
INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, copy_results_to,
  batch_name, callback_url, priority, deadline_at, idempotency_key, request_hash, retry_of)
SELECT u.id, u.tenant_id, 'accepted', u.name, u.workflow, u.params, u.metadata, u.copy_results_to,
  u.batch_name, u.callback_url, u.priority, now() + u.deadline * interval '1 second',
  u.idempotency_key, u.request_hash, u.retry_of
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::json[], $6::jsonb[], $7::json[],
  $8::text[], $9::text[], $10::smallint[], $11::float8[], $12::text[], $13::bytea[], $14::uuid[])
  WITH ORDINALITY AS u(id, tenant_id, name, workflow, params, metadata, copy_results_to, batch_name,
    callback_url, priority, deadline, idempotency_key, request_hash, retry_of, place)
WHERE EXISTS (SELECT 1 FROM tenant t WHERE t.id = u.tenant_id)
ORDER BY u.place
ON CONFLICT (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING job.id"""

_EARLIER = """
SELECT j.tenant_id, j.idempotency_key, j.id, j.request_hash
FROM unnest($1::uuid[], $2::text[]) AS u(tenant_id, idempotency_key)
JOIN job j ON j.tenant_id = u.tenant_id AND j.idempotency_key = u.idempotency_key"""

_ONE = f"""
SELECT {COLUMNS} FROM job j JOIN tenant t ON t.id = j.tenant_id
WHERE j.tenant_id = $1 AND j.id = $2 AND j.deleted_at IS NULL"""

_ALL = f"""
SELECT {COLUMNS} FROM job j JOIN tenant t ON t.id = j.tenant_id
WHERE j.id = ANY($1::uuid[]) AND j.deleted_at IS NULL"""

# Each queue is walked once, however many of its jobs are asked for.
_AHEAD = f"""
SELECT j.id, COALESCE(w.place, CASE j.state WHEN 'accepted' THEN {_FARTHEST} ELSE 0 END) AS place
FROM job j LEFT JOIN (unnest($1::uuid[]) AS u(id) CROSS JOIN LATERAL (
  SELECT id, row_number() OVER (ORDER BY priority DESC, id) - 1 AS place
  FROM job WHERE tenant_id = u.id AND state = 'accepted'
  ORDER BY priority DESC, id LIMIT {_FARTHEST}) AS w) ON w.id = j.id
WHERE j.id = ANY($2::uuid[])"""

_QUEUED = """
SELECT u.tenant_id, (SELECT COALESCE(sum(l.waiting), 0)::bigint FROM tenant_load l
  WHERE l.tenant_id = u.tenant_id) AS waiting
FROM unnest($1::uuid[]) AS u(tenant_id)"""

# A job that may be on its way upstream, or is there, is to be deleted there as well.
_DELETE = """
UPDATE job SET deleted_at = now(), version = version + 1, params = '{}', result = NULL,
  copy_results_to = NULL, lease_token = NULL,
  upstream_delete_at = CASE WHEN upstream_id IS NOT NULL THEN now()
    WHEN submit_attempts > 0 AND state = 'cancelled' THEN now() + $3 * interval '1 second' END
WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING credential_id, upstream_id"""

_TO_DELETE_UPSTREAM = """
UPDATE job SET upstream_delete_at = now() + $2 * interval '1 second'
WHERE id = ANY(ARRAY(SELECT id FROM job WHERE upstream_delete_at <= now()
  ORDER BY upstream_delete_at LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING id, credential_id, upstream_id, sent_at, now()"""


class Earlier(NamedTuple):
    """The job that an idempotency key already made."""

    tenant_id: UUID
    idempotency_key: str
    id: UUID
    request_hash: bytes


class Doomed(NamedTuple):
    """A deleted job that the upstream may still hold."""

    id: UUID
    credential_id: UUID
    upstream_id: str | None
    sent_at: datetime
    now: datetime  # by the clock that sent_at was taken from


def job_of(row: AnyRow) -> Job:
    """Read a row of COLUMNS."""
    values = list(row)
    values[_STATE] = JobState(values[_STATE])
    return Job(*values)


async def insert(tx: Tx, jobs: Sequence[NewJob]) -> set[UUID]:
    """Store accepted jobs.

    Those whose idempotency key exists already, or whose tenant does not any more, are left out.
    """
    # One order for everybody: two processes that insert the same keys must not deadlock.
    rows = sorted(jobs, key=lambda job: (job.tenant_id, job.idempotency_key or ""))
    columns = (
        [j.id for j in rows],
        [j.tenant_id for j in rows],
        [j.name for j in rows],
        [j.workflow for j in rows],
        [j.params for j in rows],
        [j.metadata for j in rows],
        [j.copy_results_to for j in rows],
        [j.batch_name for j in rows],
        [j.callback_url for j in rows],
        [j.priority for j in rows],
        [j.deadline_seconds for j in rows],
        [j.idempotency_key for j in rows],
        [j.request_hash for j in rows],
        [j.retry_of for j in rows],
    )
    return {row.id for row in await tx.rows(_INSERT, *columns)}


async def earlier(tx: Tx, keys: Iterable[tuple[UUID, str]]) -> list[Earlier]:
    """Find the jobs that these idempotency keys of tenants made."""
    pairs = list(keys)
    rows = await tx.rows(_EARLIER, [tenant for tenant, _ in pairs], [key for _, key in pairs])
    return [Earlier(*row) for row in rows]


async def find(tx: Tx, tenant_id: UUID, job_id: UUID) -> Job | None:
    """Find a job that was not deleted."""
    row = await tx.row(_ONE, tenant_id, job_id)
    return job_of(row) if row else None


async def owner(tx: Tx, job_id: UUID) -> UUID | None:
    """Whose job it is; None where there is none."""
    row = await tx.row("SELECT tenant_id FROM job WHERE id = $1", job_id)
    return row.tenant_id if row else None


async def find_all(tx: Tx, job_ids: Sequence[UUID]) -> list[Job]:
    """Those of these jobs that were not deleted, whosever they are and in no order."""
    return [job_of(row) for row in await tx.rows(_ALL, list(job_ids))]


async def versions(tx: Tx, job_ids: Sequence[UUID]) -> dict[UUID, int]:
    """The versions of those of these jobs that are still there."""
    rows = await tx.rows(
        "SELECT id, version FROM job WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL",
        list(job_ids),
    )
    return {row.id: row.version for row in rows}


async def hold(tx: Tx, tenant_id: UUID, job_id: UUID) -> Job | None:
    """Find a job that was not deleted, and let nobody change it until the transaction ends."""
    row = await tx.row(f"{_ONE} FOR UPDATE OF j", tenant_id, job_id)
    return job_of(row) if row else None


async def ahead(tx: Tx, waiting: Sequence[Job]) -> dict[UUID, int]:
    """How many jobs of its tenant will be submitted before each of these, up to 10,000."""
    tenants = {job.tenant_id for job in waiting}
    rows = await tx.rows(_AHEAD, list(tenants), [job.id for job in waiting])
    return {row.id: row.place for row in rows}


async def queued(tx: Tx, tenant_ids: Iterable[UUID]) -> dict[UUID, int]:
    """How many jobs of tenants wait."""
    rows = await tx.rows(_QUEUED, list(tenant_ids))
    return {row.tenant_id: row.waiting for row in rows}


async def delete(
    tx: Tx, tenant_id: UUID, job_id: UUID, lease: float
) -> tuple[UUID | None, str | None] | None:
    """Hide a job and drop its payload; its credential and upstream id, or None if it is unknown.

    A job that was being submitted is looked for upstream once that submit must be over.
    """
    row = await tx.row(_DELETE, tenant_id, job_id, lease)
    return (row.credential_id, row.upstream_id) if row else None


async def claim_doomed(tx: Tx, limit: int, lease: float) -> list[Doomed]:
    """Take deleted jobs that the upstream still has to be told of."""
    return [Doomed(*row) for row in await tx.rows(_TO_DELETE_UPSTREAM, limit, lease)]


async def forget_upstream(tx: Tx, job_ids: Sequence[UUID]) -> None:
    """Note that the upstream no longer holds these deleted jobs."""
    await tx.run(
        "UPDATE job SET upstream_delete_at = NULL WHERE id = ANY($1::uuid[])", list(job_ids)
    )
