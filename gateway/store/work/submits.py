"""Jobs on their way upstream: claim them, and record how each submit ended.

The flow gateway/flows/submit calls this on every wake-up of the verb `submit` and in every sweep. A
claim takes jobs for the length of a lease and gives them one fencing token (`lease_token`); each later
write repeats the token, so a worker whose lease has lapsed changes nothing. Rows are locked with
FOR UPDATE SKIP LOCKED, so two workers never wait for each other and never take the same job. After a
crash between claim and record the job is in doubt: once its lease has lapsed, `claim_doubtful` takes it
and the upstream is asked whether the job arrived before it is submitted again.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.conditions import LATEST_CREDENTIAL, is_rested
from gateway.store.database import Tx
from gateway.store.statement import Query, Statement, columns


class DueSubmits(NamedTuple):
    """Whether any job waits, is a suspect that may have crashed its worker, or is in doubt."""

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
    traceparent: str | None
    sends_traceparent: bool


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


# The literals are those of the partial indexes.
_DUE = Query(
    """
SELECT EXISTS (SELECT 1 FROM job WHERE state = 'accepted') AS waiting,
  EXISTS (SELECT 1 FROM job WHERE state = 'accepted' AND strikes >= 2 AND next_at <= now())
    AS suspects,
  EXISTS (SELECT 1 FROM job WHERE state = 'submitting' AND next_at <= now()) AS doubtful""",
    DueSubmits,
)

CLAIM = Query(
    f"""
-- A skip scan: one index probe for each tenant with something waiting.
WITH RECURSIVE waiting_tenant AS (
  (SELECT tenant_id FROM job WHERE state = 'accepted' ORDER BY tenant_id LIMIT 1)
  UNION ALL
  SELECT (SELECT j.tenant_id FROM job j WHERE j.state = 'accepted'
    AND j.tenant_id > w.tenant_id ORDER BY j.tenant_id LIMIT 1)
  FROM waiting_tenant w WHERE w.tenant_id IS NOT NULL
), room AS (
  SELECT t.id AS tenant_id, c.id AS credential_id, c.base_url, c.sealed, c.version,
    c.failures, c.rejected_at IS NOT NULL AS rejected, c.submit_room IS NOT NULL AS narrow,
    c.failures >= :breaker OR c.rejected_at IS NOT NULL AS probing,
    COALESCE('upstream' = ANY(t.send_traceparent), false) AS sends_traceparent,
    CASE WHEN c.failures >= :breaker OR c.rejected_at IS NOT NULL THEN 1 ELSE LEAST(
      COALESCE(t.max_in_flight, :in_flight) - (SELECT COALESCE(sum(l.in_flight), 0)
        FROM tenant_load l WHERE l.tenant_id = t.id),
      -- LEAST ignores a null: the room is narrower only after failures of the upstream.
      CASE WHEN c.submit_room IS NOT NULL THEN c.submit_room - (SELECT count(*) FROM job f
        WHERE f.tenant_id = t.id AND f.state = 'submitting' AND f.next_at > now()
          AND f.lease_token IS NOT NULL) END) END AS free
  FROM waiting_tenant w
  JOIN tenant t ON t.id = w.tenant_id
  CROSS JOIN {LATEST_CREDENTIAL} AS c
  WHERE t.suspended_at IS NULL AND {is_rested("c")}
), share AS (
  SELECT *, LEAST(free, ceil(:limit::float8 / count(*) OVER ()))::int AS most FROM room
  WHERE free > 0 ORDER BY random()
), pick AS (
  SELECT j.id, share.* FROM share CROSS JOIN LATERAL (
    SELECT id FROM job WHERE tenant_id = share.tenant_id AND state = 'accepted' AND next_at <= now()
      AND CASE WHEN :suspects::bool THEN strikes >= :suspicious ELSE strikes < :suspicious END
    ORDER BY priority DESC, id LIMIT share.most FOR UPDATE SKIP LOCKED) AS j
  LIMIT :limit
), probe AS (
  -- One probe for all processes and verbs: the claim that takes it pauses the credential for the others.
  UPDATE credential SET paused_until = now() + :lease * interval '1 second'
  WHERE id IN (SELECT id FROM credential
    WHERE id IN (SELECT credential_id FROM pick WHERE probing) ORDER BY id FOR UPDATE)
    AND {is_rested("credential")}
  RETURNING id
)
UPDATE job SET state = 'submitting', submit_attempts = submit_attempts + 1, sent_at = now(),
  sent_until = NULL, lookups = 0, next_at = now() + :lease * interval '1 second',
  lease_token = :token, credential_id = pick.credential_id, version = job.version + 1,
  strikes = strikes + 1
FROM pick WHERE job.id = pick.id
  AND (NOT pick.probing OR pick.credential_id IN (SELECT id FROM probe))
RETURNING job.id, job.tenant_id, job.name, job.workflow, job.params, job.metadata,
  job.copy_results_to, job.credential_id, pick.version AS credential_version, pick.base_url,
  pick.sealed, pick.failures, pick.rejected, pick.narrow, job.strikes,
  (SELECT id FROM beacon) AS beacon_id, (SELECT count FROM beacon) AS beacon,
  job.traceparent, pick.sends_traceparent""",
    ToSubmit,
)

# The literal is that of the partial index.
_SUSPECTS = Statement(
    f"""
SELECT EXISTS (SELECT 1 FROM job j JOIN tenant t ON t.id = j.tenant_id
  CROSS JOIN {LATEST_CREDENTIAL} AS c
  WHERE j.state = 'accepted' AND j.strikes >= 2 AND j.strikes >= :suspicious
    AND j.next_at <= now() AND t.suspended_at IS NULL AND {is_rested("c")}) AS found"""
)

# Until when the upstream can have taken a job: the end of the request where that is known, else the
# end of its lease. The previous version puts waiting jobs of a restored database in doubt without an
# end: those have sent_at = created_at.
_SENT_UNTIL = """COALESCE(job.sent_until,
    CASE WHEN job.sent_at = job.created_at THEN now()
      ELSE job.sent_at + :lease * interval '1 second' END) AS sent_until"""

_CLAIM_DOUBTFUL = Query(
    f"""
WITH pick AS (
  SELECT j.id, j.credential_id, c.failures,
    c.failures >= :breaker OR c.rejected_at IS NOT NULL AS probing
  FROM job j JOIN credential c ON c.id = j.credential_id
  WHERE j.state = 'submitting' AND j.next_at <= now() AND {is_rested("c")}
  ORDER BY j.next_at LIMIT :limit FOR UPDATE OF j SKIP LOCKED
), probe AS (
  UPDATE credential SET paused_until = now() + :lease * interval '1 second'
  WHERE id IN (SELECT id FROM credential
    WHERE id IN (SELECT credential_id FROM pick WHERE probing) ORDER BY id FOR UPDATE)
    AND {is_rested("credential")}
  RETURNING id
)
UPDATE job SET next_at = now() + :lease * interval '1 second', lease_token = :token
FROM pick WHERE job.id = pick.id
  AND (NOT pick.probing OR pick.credential_id IN (SELECT id FROM probe))
RETURNING job.id, job.tenant_id, job.credential_id, job.sent_at, {_SENT_UNTIL},
  job.lookups, job.strikes, pick.failures, now() AS now""",
    Doubtful,
)

_DOUBTFUL = Query(
    f"""
SELECT id, sent_at, {_SENT_UNTIL}, lookups FROM job
WHERE state = 'submitting' AND credential_id = :credential_id AND next_at <= now()
ORDER BY next_at LIMIT :limit""",
    InDoubt,
)

_TAKEN_AT = Query(
    """
SELECT id, sent_at, submitted_at FROM job
WHERE id = ANY(:job_ids::uuid[]) AND sent_at IS NOT NULL AND submitted_at IS NOT NULL""",
    TakenAt,
)

# The ids are given twice in statements like this one: as a list they let the planner leave out all other months,
# where the jobs are in partitions.
_SUBMITTED = Statement(
    """
UPDATE job SET state = 'submitted', upstream_id = u.upstream_id, submitted_at = now(),
  next_at = now(), lease_token = NULL, strikes = 0, version = version + 1
FROM unnest(:ids::uuid[], :tokens::uuid[], :upstream_ids::text[]) AS u(id, token, upstream_id)
WHERE job.id = u.id AND job.id = ANY(:ids::uuid[]) AND job.state = 'submitting' AND job.lease_token = u.token
RETURNING job.id"""
)

# The job was deleted while it was being submitted, so the upstream has one to delete.
_ORPHANED = Statement(
    """
UPDATE job SET upstream_id = u.upstream_id, upstream_delete_at = now()
FROM unnest(:ids::uuid[], :upstream_ids::text[]) AS u(id, upstream_id)
WHERE job.id = u.id AND job.id = ANY(:ids::uuid[]) AND job.deleted_at IS NOT NULL AND job.upstream_id IS NULL"""
)

_BACK = Statement(
    """
UPDATE job SET state = 'accepted', next_at = now() + u.delay * interval '1 second',
  lease_token = NULL, version = version + 1, strikes = u.strikes,
  submit_attempts = submit_attempts - CASE WHEN u.counted THEN 0 ELSE 1 END
FROM unnest(:id::uuid[], :token::uuid[], :delay::float8[], :counted::bool[], :strikes::smallint[])
  AS u(id, token, delay, counted, strikes)
WHERE job.id = u.id AND job.id = ANY(:id::uuid[]) AND job.state = 'submitting' AND job.lease_token = u.token"""
)

_DOUBT = Statement(
    """
UPDATE job SET next_at = now() + u.delay * interval '1 second', lease_token = NULL,
  lookups = u.lookups, strikes = u.strikes, sent_until = COALESCE(job.sent_until, now())
FROM unnest(:id::uuid[], :token::uuid[], :delay::float8[], :lookups::smallint[],
  :strikes::smallint[]) AS u(id, token, delay, lookups, strikes)
WHERE job.id = u.id AND job.id = ANY(:id::uuid[]) AND job.state = 'submitting' AND job.lease_token = u.token"""
)


async def due(tx: Tx) -> DueSubmits:
    """Whether there is anything to claim: three index probes, 0.1 ms instead of the claim's 1 ms.

    Most wake-ups find that another process has already claimed the jobs.
    """
    return await _DUE.one(tx)


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
    """Claim due jobs for `lease` seconds: fairly over tenants, of each by priority and then by age.

    The room is shared out among the tenants in random order. A tenant with 100,000 waiting jobs delays
    no other one, and gets all the room while no other one waits. Of a tenant no more are taken than its
    cap leaves, which is `in_flight` unless it has its own, nor than its credential's room, which
    failures of the upstream narrow.

    `breaker` failures in a row open the circuit breaker of a credential. With an open breaker, or a
    rejected credential, a single job is claimed as a probe once its pause is over. Jobs with
    `suspicious` strikes are claimed only with `suspects`, and then only they.

    Locks the claimed jobs, and the credentials that are probed in the order of their ids. Costs one
    probe for each tenant with waiting jobs, however many jobs wait.
    """
    return await CLAIM.rows(
        tx,
        limit=limit,
        in_flight=in_flight,
        lease=lease,
        breaker=breaker,
        suspicious=suspicious,
        token=token,
        suspects=suspects,
    )


async def claim_doubtful(
    tx: Tx, limit: int, *, lease: float, breaker: int, token: UUID
) -> list[Doubtful]:
    """Claim jobs in doubt for `lease` seconds, those that are due for longest first.

    A job is in doubt when the outcome of its submit is unknown and its lease has lapsed. Locks as
    `claim` does.
    """
    return await _CLAIM_DOUBTFUL.rows(tx, limit=limit, lease=lease, breaker=breaker, token=token)


async def doubtful(tx: Tx, credential_id: UUID, *, lease: float, limit: int) -> list[InDoubt]:
    """Jobs of a credential that are due for a lookup and not claimed, those due for longest first.

    A lookup that begins now may find these as well. Locks nothing.
    """
    return await _DOUBTFUL.rows(tx, credential_id=credential_id, lease=lease, limit=limit)


async def sent(tx: Tx, job_ids: Sequence[UUID]) -> list[TakenAt]:
    """When the upstream took those of these jobs whose submit was recorded."""
    return await _TAKEN_AT.rows(tx, job_ids=list(job_ids))


async def submitted(tx: Tx, rows: Sequence[tuple[UUID, UUID, str]]) -> set[UUID]:
    """Record upstream ids, as (job, lease token, upstream id); returns the jobs still under that lease.

    The fencing token is checked: a job that was claimed again is left alone. If the job was deleted
    meanwhile, its upstream id is kept so that it is deleted there as well.
    """
    ids, tokens, upstream_ids = ([row[place] for row in rows] for place in range(3))
    found = await _SUBMITTED.rows(tx, ids=ids, tokens=tokens, upstream_ids=upstream_ids)
    kept = {row.id for row in found}
    lost = [row for row in rows if row[0] not in kept]
    if lost:
        lost_ids, lost_upstream = [row[0] for row in lost], [row[2] for row in lost]
        await _ORPHANED.run(tx, ids=lost_ids, upstream_ids=lost_upstream)
    return kept


async def back(tx: Tx, rows: Sequence[Back]) -> None:
    """Put jobs back in the queue that the upstream certainly did not take; checks the fencing token."""
    await _BACK.run(tx, **columns(Back, rows))


async def doubt(tx: Tx, rows: Sequence[Doubt]) -> None:
    """Put jobs in doubt, to be looked up after a delay; checks the fencing token."""
    await _DOUBT.run(tx, **columns(Doubt, rows))


async def has_suspects(tx: Tx, suspicious: int) -> bool:
    """Whether jobs wait that have that many strikes, and whose tenant may submit now."""
    return bool((await _SUSPECTS.one(tx, suspicious=suspicious)).found)
