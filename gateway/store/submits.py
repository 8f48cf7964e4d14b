"""Jobs on their way upstream: claim, and record what came of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.engine import Tx

# Walks the tenants that have something waiting, one index probe each, and takes at most a
# quantum from each in random order: a tenant with 100,000 waiting jobs delays nobody.
# A credential with an open breaker, or a rejected one, is tried with a single job once it rested.
_CLAIM = """
WITH RECURSIVE lane AS (
  (SELECT tenant_id FROM job WHERE state = 'accepted' ORDER BY tenant_id LIMIT 1)
  UNION ALL
  SELECT (SELECT j.tenant_id FROM job j WHERE j.state = 'accepted'
    AND j.tenant_id > lane.tenant_id ORDER BY j.tenant_id LIMIT 1)
  FROM lane WHERE lane.tenant_id IS NOT NULL
), room AS (
  SELECT t.id AS tenant_id, c.id AS credential_id, c.base_url, c.sealed, c.version,
    c.failures, c.rejected_at IS NOT NULL AS rejected,
    CASE WHEN c.failures >= $5 OR c.rejected_at IS NOT NULL THEN 1 ELSE LEAST($2::bigint,
      COALESCE(t.max_in_flight, $3) - (SELECT count(*) FROM (
        SELECT 1 FROM job f WHERE f.tenant_id = t.id
          AND f.state IN ('submitting', 'submitted', 'running')
        LIMIT COALESCE(t.max_in_flight, $3)) AS busy)) END AS free
  FROM lane
  JOIN tenant t ON t.id = lane.tenant_id
  CROSS JOIN LATERAL (SELECT * FROM credential c WHERE c.tenant_id = t.id
    ORDER BY c.version DESC LIMIT 1) AS c
  WHERE t.suspended_at IS NULL AND (c.paused_until IS NULL OR c.paused_until <= now())
  ORDER BY random()
), pick AS (
  SELECT j.id, room.* FROM room CROSS JOIN LATERAL (
    SELECT id FROM job WHERE tenant_id = room.tenant_id AND state = 'accepted' AND next_at <= now()
    ORDER BY priority DESC, id LIMIT GREATEST(room.free, 0) FOR UPDATE SKIP LOCKED) AS j
  LIMIT $1
)
UPDATE job SET state = 'submitting', submit_attempts = submit_attempts + 1, sent_at = now(),
  lookups = 0, next_at = now() + $4 * interval '1 second', lease_token = $6,
  credential_id = pick.credential_id, version = job.version + 1
FROM pick WHERE job.id = pick.id
RETURNING job.id, job.tenant_id, job.name, job.workflow, job.params, job.metadata,
  job.copy_results_to, job.credential_id, pick.version, pick.base_url, pick.sealed,
  pick.failures, pick.rejected"""

_CLAIM_DOUBTFUL = """
UPDATE job SET next_at = now() + $2 * interval '1 second', lease_token = $3
FROM (SELECT j.id FROM job j JOIN credential c ON c.id = j.credential_id
  WHERE j.state = 'submitting' AND j.next_at <= now()
    AND (c.paused_until IS NULL OR c.paused_until <= now())
  ORDER BY j.next_at LIMIT $1 FOR UPDATE OF j SKIP LOCKED) AS pick
WHERE job.id = pick.id
RETURNING job.id, job.tenant_id, job.credential_id, job.sent_at, job.lookups, now()"""

_SUBMITTED = """
UPDATE job SET state = 'submitted', upstream_id = u.upstream_id, submitted_at = now(),
  next_at = now(), lease_token = NULL, version = version + 1
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS u(id, token, upstream_id)
WHERE job.id = u.id AND job.state = 'submitting' AND job.lease_token = u.token
RETURNING job.id"""

# The job was deleted while it was being submitted, so the upstream has one to delete.
_ORPHANED = """
UPDATE job SET upstream_id = u.upstream_id, upstream_delete_at = now()
FROM unnest($1::uuid[], $2::text[]) AS u(id, upstream_id)
WHERE job.id = u.id AND job.deleted_at IS NOT NULL AND job.upstream_id IS NULL"""

_BACK = """
UPDATE job SET state = 'accepted', next_at = now() + u.delay * interval '1 second',
  lease_token = NULL, version = version + 1,
  submit_attempts = submit_attempts - CASE WHEN u.counted THEN 0 ELSE 1 END
FROM unnest($1::uuid[], $2::uuid[], $3::float8[], $4::bool[]) AS u(id, token, delay, counted)
WHERE job.id = u.id AND job.state = 'submitting' AND job.lease_token = u.token
RETURNING job.id"""

_DOUBT = """
UPDATE job SET next_at = now() + u.delay * interval '1 second', lease_token = NULL,
  lookups = u.lookups
FROM unnest($1::uuid[], $2::uuid[], $3::float8[], $4::smallint[]) AS u(id, token, delay, lookups)
WHERE job.id = u.id AND job.state = 'submitting' AND job.lease_token = u.token"""


class ToSubmit(NamedTuple):
    """A claimed job with the credential that it goes out with."""

    id: UUID
    tenant_id: UUID
    name: str
    workflow: str
    params: str
    metadata: str
    copy_results_to: str | None
    credential_id: UUID
    credential_version: int
    base_url: str
    sealed: bytes
    failures: int
    rejected: bool


class Doubtful(NamedTuple):
    """A claimed job that may or may not have reached the upstream."""

    id: UUID
    tenant_id: UUID
    credential_id: UUID
    sent_at: datetime
    lookups: int
    now: datetime  # by the clock that sent_at was taken from


class Back(NamedTuple):
    """A job that was not taken, due again after `delay`; `counted` says if the attempt counts."""

    id: UUID
    token: UUID
    delay: float
    counted: bool


class Doubt(NamedTuple):
    """A job that is to be looked up after `delay`, with the lookups made so far."""

    id: UUID
    token: UUID
    delay: float
    lookups: int


async def claim(
    tx: Tx, limit: int, *, quantum: int, in_flight: int, lease: float, breaker: int, token: UUID
) -> list[ToSubmit]:
    """Take due jobs, fairly over tenants, within each tenant's room at the upstream."""
    rows = await tx.rows(_CLAIM, limit, quantum, in_flight, lease, breaker, token)
    return [ToSubmit(*row) for row in rows]


async def claim_doubtful(tx: Tx, limit: int, *, lease: float, token: UUID) -> list[Doubtful]:
    """Take jobs whose submit has no known outcome, once its lease is over."""
    return [Doubtful(*row) for row in await tx.rows(_CLAIM_DOUBTFUL, limit, lease, token)]


async def submitted(tx: Tx, rows: Sequence[tuple[UUID, UUID, str]]) -> set[UUID]:
    """Record upstream ids, as (job, lease token, upstream id); the jobs that were still ours."""
    columns = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
    kept = {row.id for row in await tx.rows(_SUBMITTED, *columns)}
    lost = [row for row in rows if row[0] not in kept]
    if lost:
        await tx.run(_ORPHANED, [row[0] for row in lost], [row[2] for row in lost])
    return kept


async def back(tx: Tx, rows: Sequence[Back]) -> None:
    """Let jobs wait that the upstream certainly did not take."""
    await tx.run(_BACK, *(list(column) for column in zip(*rows, strict=True)))


async def doubt(tx: Tx, rows: Sequence[Doubt]) -> None:
    """Have jobs looked up after a delay."""
    await tx.run(_DOUBT, *(list(column) for column in zip(*rows, strict=True)))
