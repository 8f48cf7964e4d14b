"""Jobs on their way upstream: claim, and record what came of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx

# Walks the tenants that have something waiting, one index probe each, and shares the room out among
# them in random order: a tenant with 100,000 waiting jobs delays nobody, and gets all the room where
# nobody else waits.
_CLAIM = """
WITH RECURSIVE lane AS (
  (SELECT tenant_id FROM job WHERE state = 'accepted' ORDER BY tenant_id LIMIT 1)
  UNION ALL
  SELECT (SELECT j.tenant_id FROM job j WHERE j.state = 'accepted'
    AND j.tenant_id > lane.tenant_id ORDER BY j.tenant_id LIMIT 1)
  FROM lane WHERE lane.tenant_id IS NOT NULL
), room AS (
  SELECT t.id AS tenant_id, c.id AS credential_id, c.base_url, c.sealed, c.version,
    c.failures, c.rejected_at IS NOT NULL AS rejected, c.submit_room IS NOT NULL AS narrow,
    c.failures >= $4 OR c.rejected_at IS NOT NULL AS probing,
    CASE WHEN c.failures >= $4 OR c.rejected_at IS NOT NULL THEN 1 ELSE LEAST(
      COALESCE(t.max_in_flight, $2) - (SELECT COALESCE(sum(l.in_flight), 0) FROM tenant_load l
        WHERE l.tenant_id = t.id),
      -- LEAST leaves a null out: only after trouble is the room narrower.
      CASE WHEN c.submit_room IS NOT NULL THEN c.submit_room - (SELECT count(*) FROM job f
        WHERE f.tenant_id = t.id AND f.state = 'submitting' AND f.next_at > now()
          AND f.lease_token IS NOT NULL) END) END AS free
  FROM lane
  JOIN tenant t ON t.id = lane.tenant_id
  CROSS JOIN LATERAL (SELECT * FROM credential c WHERE c.tenant_id = t.id
    ORDER BY c.version DESC LIMIT 1) AS c
  WHERE t.suspended_at IS NULL AND (c.paused_until IS NULL OR c.paused_until <= now())
), share AS (
  SELECT *, LEAST(free, ceil($1::float8 / count(*) OVER ()))::int AS most FROM room
  WHERE free > 0 ORDER BY random()
), pick AS (
  SELECT j.id, share.* FROM share CROSS JOIN LATERAL (
    SELECT id FROM job WHERE tenant_id = share.tenant_id AND state = 'accepted' AND next_at <= now()
      AND CASE WHEN $7::bool THEN strikes >= $6 ELSE strikes < $6 END
    ORDER BY priority DESC, id LIMIT share.most FOR UPDATE SKIP LOCKED) AS j
  LIMIT $1
), probe AS (
  -- One probe for all processes and verbs: whoever takes it pauses the credential for the others.
  UPDATE credential SET paused_until = now() + $3 * interval '1 second'
  WHERE id IN (SELECT id FROM credential
    WHERE id IN (SELECT credential_id FROM pick WHERE probing) ORDER BY id FOR UPDATE)
    AND (paused_until IS NULL OR paused_until <= now())
  RETURNING id
)
UPDATE job SET state = 'submitting', submit_attempts = submit_attempts + 1, sent_at = now(),
  sent_until = NULL, lookups = 0, next_at = now() + $3 * interval '1 second', lease_token = $5,
  credential_id = pick.credential_id, version = job.version + 1, strikes = strikes + 1
FROM pick WHERE job.id = pick.id
  AND (NOT pick.probing OR pick.credential_id IN (SELECT id FROM probe))
RETURNING job.id, job.tenant_id, job.name, job.workflow, job.params, job.metadata,
  job.copy_results_to, job.credential_id, pick.version, pick.base_url, pick.sealed,
  pick.failures, pick.rejected, pick.narrow, job.strikes,
  (SELECT id FROM beacon), (SELECT count FROM beacon)"""

# One index probe each. The statements that claim take Postgres a millisecond to plan; most wake-ups find
# that another process was faster. The literal is that of the index.
_DUE = """
SELECT EXISTS (SELECT 1 FROM job WHERE state = 'accepted'),
  EXISTS (SELECT 1 FROM job WHERE state = 'accepted' AND strikes >= 2 AND next_at <= now()),
  EXISTS (SELECT 1 FROM job WHERE state = 'submitting' AND next_at <= now())"""

# The literal is that of the index.
_SUSPECTS = """
SELECT EXISTS (SELECT 1 FROM job j JOIN tenant t ON t.id = j.tenant_id
  CROSS JOIN LATERAL (SELECT * FROM credential c WHERE c.tenant_id = t.id
    ORDER BY c.version DESC LIMIT 1) AS c
  WHERE j.state = 'accepted' AND j.strikes >= 2 AND j.strikes >= $1 AND j.next_at <= now()
    AND t.suspended_at IS NULL AND (c.paused_until IS NULL OR c.paused_until <= now()))"""

# Until when the upstream can have taken a job: the end of the request where that is known, or else
# of its lease. Workers of the version before put what a restored database calls waiting in doubt
# without it.
_UNTIL = """COALESCE(job.sent_until,
    CASE WHEN job.sent_at = job.created_at THEN now() ELSE job.sent_at + $2 * interval '1 second' END)"""

_CLAIM_DOUBTFUL = f"""
WITH pick AS (
  SELECT j.id, j.credential_id, c.failures,
    c.failures >= $4 OR c.rejected_at IS NOT NULL AS probing
  FROM job j JOIN credential c ON c.id = j.credential_id
  WHERE j.state = 'submitting' AND j.next_at <= now()
    AND (c.paused_until IS NULL OR c.paused_until <= now())
  ORDER BY j.next_at LIMIT $1 FOR UPDATE OF j SKIP LOCKED
), probe AS (
  UPDATE credential SET paused_until = now() + $2 * interval '1 second'
  WHERE id IN (SELECT id FROM credential
    WHERE id IN (SELECT credential_id FROM pick WHERE probing) ORDER BY id FOR UPDATE)
    AND (paused_until IS NULL OR paused_until <= now())
  RETURNING id
)
UPDATE job SET next_at = now() + $2 * interval '1 second', lease_token = $3
FROM pick WHERE job.id = pick.id
  AND (NOT pick.probing OR pick.credential_id IN (SELECT id FROM probe))
RETURNING job.id, job.tenant_id, job.credential_id, job.sent_at, {_UNTIL},
  job.lookups, job.strikes, pick.failures, now()"""

# Those of one credential that a lookup which begins now may serve as well.
_DOUBTFUL = f"""
SELECT id, sent_at, {_UNTIL}, lookups FROM job
WHERE state = 'submitting' AND credential_id = $1 AND next_at <= now() ORDER BY next_at LIMIT $3"""

_SENT = """
SELECT id, sent_at, submitted_at FROM job
WHERE id = ANY($1::uuid[]) AND sent_at IS NOT NULL AND submitted_at IS NOT NULL"""

_SUBMITTED = """
UPDATE job SET state = 'submitted', upstream_id = u.upstream_id, submitted_at = now(),
  next_at = now(), lease_token = NULL, strikes = 0, version = version + 1
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
  lease_token = NULL, version = version + 1, strikes = u.strikes,
  submit_attempts = submit_attempts - CASE WHEN u.counted THEN 0 ELSE 1 END
FROM unnest($1::uuid[], $2::uuid[], $3::float8[], $4::bool[], $5::smallint[])
  AS u(id, token, delay, counted, strikes)
WHERE job.id = u.id AND job.state = 'submitting' AND job.lease_token = u.token
RETURNING job.id"""

_DOUBT = """
UPDATE job SET next_at = now() + u.delay * interval '1 second', lease_token = NULL,
  lookups = u.lookups, strikes = u.strikes, sent_until = COALESCE(job.sent_until, now())
FROM unnest($1::uuid[], $2::uuid[], $3::float8[], $4::smallint[], $5::smallint[])
  AS u(id, token, delay, lookups, strikes)
WHERE job.id = u.id AND job.state = 'submitting' AND job.lease_token = u.token"""


class DueSubmits(NamedTuple):
    """Whether any job waits at all, brought down who submitted it, or is in doubt."""

    waiting: bool
    suspects: bool
    doubtful: bool


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
    narrow: bool
    strikes: int
    beacon_id: UUID
    beacon: int


class Doubtful(NamedTuple):
    """A claimed job that may or may not have reached the upstream."""

    id: UUID
    tenant_id: UUID
    credential_id: UUID
    sent_at: datetime
    sent_until: datetime
    lookups: int
    strikes: int
    failures: int  # of its credential
    now: datetime  # by the clock that the other times were taken from


class InDoubt(NamedTuple):
    """A job in doubt, and the time in which the upstream can have taken it."""

    id: UUID
    sent_at: datetime
    sent_until: datetime
    lookups: int


class TakenAt(NamedTuple):
    """A job that the upstream took: between when it was sent and when that was recorded."""

    id: UUID
    sent_at: datetime
    submitted_at: datetime


class Back(NamedTuple):
    """A job that was not taken, due again after `delay`; `counted` says if the attempt counts."""

    id: UUID
    token: UUID
    delay: float
    counted: bool
    strikes: int = 0


class Doubt(NamedTuple):
    """A job that is to be looked up after `delay`, with the lookups made so far."""

    id: UUID
    token: UUID
    delay: float
    lookups: int
    strikes: int = 0


async def due(tx: Tx) -> DueSubmits:
    """What may be claimed; cheap to ask where nothing is."""
    return DueSubmits(*await tx.one(_DUE))


async def claim(
    tx: Tx,
    limit: int,
    *,
    in_flight: int,
    lease: float,
    breaker: int,
    suspicious: int,
    token: UUID,
    suspects: bool = False,
) -> list[ToSubmit]:
    """Take due jobs, fairly over tenants, within each tenant's room at the upstream.

    Suspects are those that were claimed that often without a recorded outcome: they or the others.
    A credential with an open breaker, or a rejected one, is tried with a single job once it rested.
    """
    rows = await tx.rows(_CLAIM, limit, in_flight, lease, breaker, token, suspicious, suspects)
    return [ToSubmit(*row) for row in rows]


async def claim_doubtful(
    tx: Tx, limit: int, *, lease: float, breaker: int, token: UUID
) -> list[Doubtful]:
    """Take jobs whose submit has no known outcome, once its lease is over."""
    return [Doubtful(*r) for r in await tx.rows(_CLAIM_DOUBTFUL, limit, lease, token, breaker)]


async def doubtful(tx: Tx, credential_id: UUID, *, lease: float, limit: int) -> list[InDoubt]:
    """Jobs of a credential that are due to be looked up and that nobody has claimed."""
    return [InDoubt(*row) for row in await tx.rows(_DOUBTFUL, credential_id, lease, limit)]


async def sent(tx: Tx, job_ids: Sequence[UUID]) -> list[TakenAt]:
    """When those of these jobs were taken whose submit was recorded."""
    return [TakenAt(*row) for row in await tx.rows(_SENT, list(job_ids))]


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


async def has_suspects(tx: Tx, suspicious: int) -> bool:
    """Whether jobs wait that were claimed that often without a recorded outcome."""
    return bool((await tx.one(_SUSPECTS, suspicious))[0])
