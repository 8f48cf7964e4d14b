"""Jobs as callers and the accept flow see them: insert, find, delete.

An insert is one statement for a whole group commit. The unique index on tenant and idempotency key decides
between two inserts of the same key, in whichever processes they run.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from gateway.core.model import Job, JobState, NewJob
from gateway.store.database import AnyRow, Tx
from gateway.store.statement import Query, Statement, columns, fields_of

# When a submit or a lookup is tried next, where that lies in the future. A job that is due, or at the
# upstream, has no such time.
NEXT_AT = "CASE WHEN j.state IN ('accepted', 'submitting') AND j.next_at > now() THEN j.next_at END"

# How far the upstream's clock must be off, if it says that a job was made before it was sent, or after
# that was recorded.
_OFFSET = """CASE WHEN u.made_at < j.sent_at THEN j.sent_at - u.made_at
    WHEN u.made_at > j.submitted_at THEN j.submitted_at - u.made_at ELSE interval '0' END"""


def our_time(column: str) -> str:
    """A time of the upstream by our clock, or null; never before the job `j` was made, nor after now."""
    shifted = f"LEAST(GREATEST({column} + {_OFFSET}, j.created_at), now())"
    return f"CASE WHEN {column} IS NOT NULL THEN {shifted} END"


# The fields of Job, of a job `j` and its tenant `t`.
COLUMNS = f"""
  j.id, j.tenant_id, t.slug AS tenant, t.name AS app, j.name, j.batch_name, j.workflow, j.params,
  j.copy_results_to, j.metadata, j.callback_url, j.state, j.result, j.error, j.created_at,
  j.submitted_at, j.started_at, j.completed_at, j.deadline_at, {NEXT_AT} AS next_at,
  j.credential_id, j.upstream_id, j.submit_attempts, j.priority, j.version, j.retry_of,
  j.traceparent"""
_STATE = fields_of(Job).index("state")
# How many jobs before another one are counted.
FARTHEST: Final = 10_000


class Earlier(NamedTuple):
    """The job that an idempotency key has already made."""

    tenant_id: UUID
    idempotency_key: str
    id: UUID
    request_hash: bytes


class PendingDeletion(NamedTuple):
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


_INSERT = Statement(
    """
INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, copy_results_to,
  batch_name, callback_url, priority, deadline_at, idempotency_key, request_hash, retry_of,
  traceparent)
SELECT u.id, u.tenant_id, 'accepted', u.name, u.workflow, u.params, u.metadata, u.copy_results_to,
  u.batch_name, u.callback_url, u.priority, now() + u.deadline * interval '1 second',
  u.idempotency_key, u.request_hash, u.retry_of, u.traceparent
FROM unnest(:id::uuid[], :tenant_id::uuid[], :name::text[], :workflow::text[], :params::json[],
  :metadata::jsonb[], :copy_results_to::json[], :batch_name::text[], :callback_url::text[],
  :priority::smallint[], :deadline_seconds::float8[], :idempotency_key::text[],
  :request_hash::bytea[], :retry_of::uuid[], :traceparent::text[])
  WITH ORDINALITY AS u(id, tenant_id, name, workflow, params, metadata, copy_results_to, batch_name,
    callback_url, priority, deadline, idempotency_key, request_hash, retry_of, traceparent,
    place)
WHERE EXISTS (SELECT 1 FROM tenant t WHERE t.id = u.tenant_id)
ORDER BY u.place
ON CONFLICT DO NOTHING
RETURNING job.id"""
)

# A commit whose wait for a synchronous standby was cancelled is visible here and may be missing there. So the
# answer waits for the standby as well: a message in the log makes this statement a commit like any other.
_CONFIRMED = """
(SELECT CASE WHEN current_setting('synchronous_standby_names') = '' THEN true
  ELSE pg_logical_emit_message(true, 'gateway', '') IS NOT NULL END)"""
_EARLIER = Query(
    f"""
SELECT j.tenant_id, j.idempotency_key, j.id, j.request_hash
FROM unnest(:tenants::uuid[], :keys::text[]) AS u(tenant_id, idempotency_key)
JOIN job j ON j.tenant_id = u.tenant_id AND j.idempotency_key = u.idempotency_key
WHERE {_CONFIRMED}""",
    Earlier,
)

_FIND = f"""
SELECT {COLUMNS} FROM job j JOIN tenant t ON t.id = j.tenant_id
WHERE j.tenant_id = :tenant_id AND j.id = :job_id AND j.deleted_at IS NULL"""
_ONE = Query(_FIND, Job, job_of)
_HOLD = Query(f"{_FIND} FOR UPDATE OF j", Job, job_of)

_ALL = Query(
    f"""
SELECT {COLUMNS} FROM job j JOIN tenant t ON t.id = j.tenant_id
WHERE j.id = ANY(:job_ids::uuid[]) AND j.deleted_at IS NULL""",
    Job,
    job_of,
)

_OWNER = Statement("SELECT tenant_id FROM job WHERE id = :job_id")

_VERSIONS = Statement(
    "SELECT id, version FROM job WHERE id = ANY(:job_ids::uuid[]) AND deleted_at IS NULL"
)

_AHEAD = Statement(
    """
SELECT j.id, COALESCE(w.place, CASE j.state WHEN 'accepted' THEN :farthest::bigint ELSE 0 END)
  AS place
FROM job j LEFT JOIN (unnest(:tenants::uuid[]) AS u(id) CROSS JOIN LATERAL (
  SELECT id, row_number() OVER (ORDER BY priority DESC, id) - 1 AS place
  FROM job WHERE tenant_id = u.id AND state = 'accepted'
  ORDER BY priority DESC, id LIMIT :farthest::bigint) AS w) ON w.id = j.id
WHERE j.id = ANY(:job_ids::uuid[])"""
)

_QUEUED = Statement(
    """
SELECT u.tenant_id, (SELECT COALESCE(sum(l.waiting), 0)::bigint FROM tenant_load l
  WHERE l.tenant_id = u.tenant_id) AS waiting
FROM unnest(:tenants::uuid[]) AS u(tenant_id)"""
)

# A job that is at the upstream, or may be on its way there, is deleted there later on.
_DELETE = Statement(
    """
UPDATE job SET deleted_at = now(), version = version + 1, params = '{}', result = NULL,
  copy_results_to = NULL, lease_token = NULL,
  upstream_delete_at = CASE WHEN upstream_id IS NOT NULL THEN now()
    WHEN submit_attempts > 0 AND state = 'cancelled' THEN now() + :lease * interval '1 second' END
WHERE tenant_id = :tenant_id AND id = :job_id AND deleted_at IS NULL
RETURNING credential_id, upstream_id"""
)

_CLAIM_DELETED = Query(
    """
UPDATE job SET upstream_delete_at = now() + :lease * interval '1 second'
WHERE id = ANY(ARRAY(SELECT id FROM job WHERE upstream_delete_at <= now()
  ORDER BY upstream_delete_at LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING id, credential_id, upstream_id, sent_at, now() AS now""",
    PendingDeletion,
)

_FORGET_UPSTREAM = Statement(
    "UPDATE job SET upstream_delete_at = NULL WHERE id = ANY(:job_ids::uuid[])"
)


async def insert(tx: Tx, jobs: Sequence[NewJob]) -> set[UUID]:
    """Store accepted jobs; returns the ids of those that were stored.

    A job is left out when its idempotency key exists already, or its tenant does not exist any more.
    Inserted in the order of tenant and key, so that two processes with the same keys do not deadlock.
    """
    rows = sorted(jobs, key=lambda job: (job.tenant_id, job.idempotency_key or ""))
    return {row.id for row in await _INSERT.rows(tx, **columns(NewJob, rows))}


async def earlier(tx: Tx, keys: Iterable[tuple[UUID, str]]) -> list[Earlier]:
    """Find the jobs that these idempotency keys of tenants have made."""
    pairs = list(keys)
    tenants, names = [tenant for tenant, _ in pairs], [key for _, key in pairs]
    return await _EARLIER.rows(tx, tenants=tenants, keys=names)


async def find(tx: Tx, tenant_id: UUID, job_id: UUID) -> Job | None:
    """Find a job that was not deleted."""
    return await _ONE.row(tx, tenant_id=tenant_id, job_id=job_id)


async def owner(tx: Tx, job_id: UUID) -> UUID | None:
    """The tenant of a job; None where there is no such job."""
    row = await _OWNER.row(tx, job_id=job_id)
    return row.tenant_id if row else None


async def find_all(tx: Tx, job_ids: Sequence[UUID]) -> list[Job]:
    """Those of these jobs that were not deleted, of any tenant and in no order."""
    return await _ALL.rows(tx, job_ids=list(job_ids))


async def versions(tx: Tx, job_ids: Sequence[UUID]) -> dict[UUID, int]:
    """The versions of those of these jobs that were not deleted."""
    return {row.id: row.version for row in await _VERSIONS.rows(tx, job_ids=list(job_ids))}


async def hold(tx: Tx, tenant_id: UUID, job_id: UUID) -> Job | None:
    """Find a job that was not deleted, and lock it until the transaction ends."""
    return await _HOLD.row(tx, tenant_id=tenant_id, job_id=job_id)


async def ahead(tx: Tx, waiting: Sequence[Job], *, farthest: int = FARTHEST) -> dict[UUID, int]:
    """How many jobs of its tenant will be submitted before each of these, up to `farthest`.

    The queue of each tenant is walked once, however many of its jobs are asked for.
    """
    tenants, ids = list({job.tenant_id for job in waiting}), [job.id for job in waiting]
    rows = await _AHEAD.rows(tx, tenants=tenants, job_ids=ids, farthest=farthest)
    return {row.id: row.place for row in rows}


async def queued(tx: Tx, tenant_ids: Iterable[UUID]) -> dict[UUID, int]:
    """How many jobs of each of these tenants wait, by counters that triggers keep."""
    rows = await _QUEUED.rows(tx, tenants=list(tenant_ids))
    return {row.tenant_id: row.waiting for row in rows}


async def delete(
    tx: Tx, tenant_id: UUID, job_id: UUID, lease: float
) -> tuple[UUID | None, str | None] | None:
    """Hide a job and drop its payload; returns its credential and upstream id, None if it is unknown.

    A job that was being submitted is looked for at the upstream after `lease` seconds, when that submit
    must be over.
    """
    row = await _DELETE.row(tx, tenant_id=tenant_id, job_id=job_id, lease=lease)
    return (row.credential_id, row.upstream_id) if row else None


async def claim_pending_deletions(tx: Tx, limit: int, lease: float) -> list[PendingDeletion]:
    """Claim deleted jobs that the upstream may still hold for `lease` seconds, the oldest first."""
    return await _CLAIM_DELETED.rows(tx, limit=limit, lease=lease)


async def forget_upstream(tx: Tx, job_ids: Sequence[UUID]) -> None:
    """Record that the upstream no longer holds these deleted jobs."""
    await _FORGET_UPSTREAM.run(tx, job_ids=list(job_ids))
