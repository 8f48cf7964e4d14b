"""Polling: claim credentials whose jobs are due to be asked about, and read those jobs.

The flow gateway/flows/poll calls this on every wake-up of the verb `poll` and in every sweep. A round of
polling belongs to a credential, not to a job: the claim gives the credential a lease and a fencing token
(`poll_token`), and `release` repeats the token. After a crash in a round the lease lapses and the next
claim takes the credential with one strike more. No statement here costs more the more jobs there are.
"""

import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Job
from gateway.core.schedule.polling import LONG_JOB, InFlight, Pace, overdue_after
from gateway.store.conditions import UPSTREAM_STATES, is_rested
from gateway.store.database import Tx
from gateway.store.statement import Query, Statement
from gateway.store.work.jobs import COLUMNS, job_of, our_time

_NEWEST = 10
_MOST_WORKFLOWS = 100


class ToPoll(NamedTuple):
    """A credential that was claimed for a round of polling.

    `strikes` is how many rounds in a row before this one were begun and not ended.
    """

    id: UUID
    tenant_id: UUID
    version: int
    base_url: str
    sealed: bytes
    failures: int
    rejected: bool
    list_order: str
    pace: str
    strikes: int


class AtUpstream(NamedTuple):
    """A job that the upstream is working on; `age` is in seconds since its submit.

    `due` says whether a status call for this job alone is due.
    """

    id: UUID
    upstream_id: str
    workflow: str
    state: str
    absences: int
    age: float
    due: bool
    submitted_at: datetime

    @property
    def place(self) -> "JobPosition":
        """Its position in the order of jobs at the upstream."""
        return JobPosition(self.workflow, self.submitted_at, self.id)


class JobPosition(NamedTuple):
    """A position for keyset paging through a credential's jobs: by workflow, then the oldest first."""

    workflow: str = ""
    submitted_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    id: UUID = UUID(int=0)


class Flight(NamedTuple):
    """The jobs of a credential at the upstream, by workflow.

    `few` is their exact number, up to the limit that was asked for. Above it, `jobs` is an estimate.
    """

    groups: Sequence[InFlight] = ()
    few: int = 0
    jobs: int = 0


CLAIM = Query(
    f"""
UPDATE credential SET poll_at = now() + :lease * interval '1 second',
  poll_lease_until = now() + :lease * interval '1 second', poll_token = :token,
  poll_strikes = LEAST(poll_strikes, 1000) + 1,
  paused_until = CASE WHEN failures >= :breaker OR rejected_at IS NOT NULL
    THEN now() + :lease * interval '1 second' END
WHERE id = ANY(ARRAY(SELECT id FROM credential
  WHERE poll_at <= now() AND (poll_lease_until IS NULL OR poll_lease_until <= now())
    AND {is_rested("credential")}
  ORDER BY poll_at LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING id, tenant_id, version, base_url, sealed, failures, rejected_at IS NOT NULL AS rejected,
  list_order, pace, poll_strikes - 1 AS strikes""",
    ToPoll,
)

_NEXT = Statement(
    """
SELECT EXTRACT(epoch FROM min(GREATEST(poll_at, paused_until, poll_lease_until)) - now())::float8
  AS seconds
FROM credential WHERE poll_at IS NOT NULL"""
)

# Locked in the order of ids, so that two processes with the same credentials do not deadlock.
_POLL_SOON = Statement(
    """
UPDATE credential SET poll_at = now() + pick.seconds * interval '1 second'
FROM (SELECT c.id, w.seconds FROM credential c CROSS JOIN LATERAL (
    SELECT min(GREATEST(:least::float8, LEAST(:most::float8,
      0.9 * COALESCE((c.pace::json->'shortest'->>u.workflow)::float8, 0)))) AS seconds
    FROM unnest(:ids::uuid[], :workflows::text[]) AS u(id, workflow) WHERE u.id = c.id) AS w
  WHERE c.id = ANY(:ids::uuid[]) AND (c.poll_at IS NULL OR c.poll_at = c.poll_lease_until
    OR c.poll_at > now() + w.seconds * interval '1 second')
  ORDER BY c.id FOR UPDATE OF c) AS pick
WHERE credential.id = pick.id"""
)

# A sooner round that was asked for during this one stands, also where this round found no job left:
# Postgres reads the row again once it has the lock.
_RELEASE = Statement(
    """
UPDATE credential SET poll_lease_until = NULL, poll_token = NULL, list_order = :list_order,
  pace = :pace, poll_strikes = CASE WHEN :is_safe::bool THEN 0 ELSE 1 END,
  poll_at = CASE WHEN poll_at <> poll_lease_until
    THEN LEAST(poll_at, now() + :wait * interval '1 second')
    ELSE now() + :wait * interval '1 second' END
WHERE id = :credential_id AND poll_token = :token"""
)

# A skip scan: one probe for each workflow of the credential, and one for each end of it.
_IN_FLIGHT = Query(
    f"""
WITH RECURSIVE flow AS (
  (SELECT workflow, 1 AS place FROM job WHERE credential_id = :credential_id
    AND state IN {UPSTREAM_STATES} ORDER BY workflow LIMIT 1)
  UNION ALL
  SELECT next.workflow, flow.place + 1 FROM flow CROSS JOIN LATERAL (
    SELECT workflow FROM job WHERE credential_id = :credential_id AND state IN {UPSTREAM_STATES}
      AND workflow > flow.workflow ORDER BY workflow LIMIT 1) AS next
  WHERE flow.place < :workflows
)
SELECT flow.workflow, EXTRACT(epoch FROM now() - newest.at)::float8 AS youngest,
  EXTRACT(epoch FROM now() - oldest.submitted_at)::float8 AS oldest,
  EXTRACT(epoch FROM now() - expected.submitted_at)::float8 AS expected,
  newest.unstarted OR oldest.state = 'submitted' AS unstarted
FROM flow LEFT JOIN unnest(:known::text[], :overdue::float8[]) AS known(workflow, overdue)
    ON known.workflow = flow.workflow
  CROSS JOIN LATERAL (SELECT max(submitted_at) AS at, bool_or(state = 'submitted') AS unstarted
    FROM (SELECT submitted_at, state FROM job WHERE credential_id = :credential_id
      AND state IN {UPSTREAM_STATES} AND workflow = flow.workflow
      ORDER BY submitted_at DESC LIMIT :newest) AS few) AS newest
  CROSS JOIN LATERAL (SELECT submitted_at, state FROM job WHERE credential_id = :credential_id
    AND state IN {UPSTREAM_STATES} AND workflow = flow.workflow
    ORDER BY submitted_at LIMIT 1) AS oldest
  LEFT JOIN LATERAL (SELECT submitted_at FROM job WHERE credential_id = :credential_id
    AND state IN {UPSTREAM_STATES} AND workflow = flow.workflow
    AND submitted_at > now() - COALESCE(known.overdue, :unknown_overdue) * interval '1 second'
    ORDER BY submitted_at LIMIT 1) AS expected ON true
WHERE newest.at IS NOT NULL""",
    InFlight,
)

# The load is that of the tenant, kept by triggers: nearly all of it belongs to its newest credential.
_COUNT = Statement(
    f"""
SELECT (SELECT count(*) FROM (SELECT 1 FROM job WHERE credential_id = :credential_id
    AND state IN {UPSTREAM_STATES} ORDER BY workflow, submitted_at LIMIT :few) AS few)::int AS few,
  (SELECT COALESCE(sum(in_flight), 0) FROM tenant_load WHERE tenant_id = :tenant_id)::int AS load"""
)

_AT_UPSTREAM = f"""
SELECT id, upstream_id, workflow, state, absences,
  EXTRACT(epoch FROM now() - submitted_at)::float8 AS age, next_at <= now() AS due, submitted_at
FROM job WHERE credential_id = :credential_id AND state IN {UPSTREAM_STATES}"""

# The first comparison bounds the index scan, the second one decides among equal times.
_WALK = Query(
    f"""{_AT_UPSTREAM} AND (workflow, submitted_at) >= (:workflow, :submitted_at)
  AND (workflow, submitted_at, id) > (:workflow, :submitted_at, :id)
ORDER BY workflow, submitted_at, id LIMIT :limit""",
    AtUpstream,
)

_OVERDUE = Query(
    f"""{_AT_UPSTREAM} AND workflow = :workflow AND submitted_at >= :submitted_at
  AND submitted_at <= now() - :age * interval '1 second' AND (submitted_at, id) > (:submitted_at, :id)
ORDER BY submitted_at, id LIMIT :limit""",
    AtUpstream,
)

_MATCH = Query(f"{_AT_UPSTREAM} AND upstream_id = ANY(:upstream_ids::text[])", AtUpstream)

_ASK_LATER = Statement(
    f"""
UPDATE job SET next_at = now() + u.delay * interval '1 second', absences = u.absences
FROM unnest(:ids::uuid[], :delays::float8[], :absences::smallint[]) AS u(id, delay, absences)
WHERE job.id = u.id AND job.id = ANY(:ids::uuid[]) AND job.state IN {UPSTREAM_STATES}"""
)

_STARTED = Query(
    f"""
UPDATE job j SET state = 'running', version = j.version + 1,
  started_at = COALESCE({our_time("u.at")}, now())
FROM unnest(:ids::uuid[], :starts::timestamptz[], :made::timestamptz[]) AS u(id, at, made_at),
  tenant t
WHERE j.id = u.id AND j.id = ANY(:ids::uuid[]) AND j.state = 'submitted' AND t.id = j.tenant_id RETURNING {COLUMNS}""",
    Job,
    job_of,
)


def pace_of(text: str) -> Pace:
    """Read the stored durations of a credential's jobs."""
    raw = json.loads(text)
    durations = (raw.get(name, {}) for name in ("typical", "shortest", "longest"))
    return Pace(*durations, credit=raw.get("credit", 0.0))


async def claim(tx: Tx, limit: int, *, lease: float, breaker: int, token: UUID) -> list[ToPoll]:
    """Claim credentials that are due to be polled for `lease` seconds, those due for longest first.

    `breaker` failures in a row open the circuit breaker of a credential. A credential with an open
    breaker, or a rejected one, is claimed as a probe once its pause is over, and the claim pauses it for
    all other verbs and processes. Locks the claimed rows with SKIP LOCKED.
    """
    return await CLAIM.rows(tx, limit=limit, lease=lease, breaker=breaker, token=token)


async def next_due(tx: Tx) -> float | None:
    """Seconds until the next credential is due; None when no job is at the upstream."""
    return (await _NEXT.one(tx)).seconds


async def poll_soon(tx: Tx, taken: Collection[tuple[UUID, str]], least: float) -> None:
    """Have credentials polled when jobs that were just submitted, as (credential, workflow), can end.

    That is after nine tenths of the shortest duration of the workflow of late, or after `least` seconds
    where none is known. A long job is first asked about when it may have started.
    """
    pairs = sorted(taken)
    ids, workflows = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    await _POLL_SOON.run(tx, ids=ids, workflows=workflows, least=least, most=LONG_JOB)


async def release(
    tx: Tx,
    credential_id: UUID,
    token: UUID,
    *,
    wait: float | None,
    list_order: str,
    pace: Pace,
    is_safe: bool,
) -> None:
    """Release a credential, due again in `wait` seconds; None when no job is at the upstream.

    Changes nothing if the fencing token is not that of its lease. Where asking about the credential
    is safe, its strikes are cleared; otherwise one is left.
    """
    known = json.dumps(
        {
            "typical": dict(pace.typical),
            "shortest": dict(pace.shortest),
            "longest": dict(pace.longest),
            "credit": round(pace.credit, 3),
        }
    )
    await _RELEASE.run(
        tx,
        credential_id=credential_id,
        token=token,
        wait=wait,
        list_order=list_order,
        pace=known,
        is_safe=is_safe,
    )


async def in_flight(tx: Tx, credential_id: UUID, tenant_id: UUID, pace: Pace, few: int) -> Flight:
    """The jobs of a credential at the upstream, of up to a hundred workflows.

    Costs a few index probes for each workflow, however many jobs there are. They are counted one by one
    up to `few` only.
    """
    known = list(pace.typical)
    groups = await _IN_FLIGHT.rows(
        tx,
        credential_id=credential_id,
        unknown_overdue=overdue_after("", Pace()),
        known=known,
        overdue=[overdue_after(workflow, pace) for workflow in known],
        newest=_NEWEST,
        workflows=_MOST_WORKFLOWS,
    )
    row = await _COUNT.one(tx, credential_id=credential_id, tenant_id=tenant_id, few=few)
    return Flight(groups, row.few, row.few if row.few < few else max(row.load, few))


async def walk(tx: Tx, credential_id: UUID, after: JobPosition, limit: int) -> list[AtUpstream]:
    """The next jobs of a credential at the upstream, in their order, by keyset paging."""
    return await _WALK.rows(tx, credential_id=credential_id, limit=limit, **after._asdict())


async def overdue(
    tx: Tx, credential_id: UUID, after: JobPosition, age: float, limit: int
) -> list[AtUpstream]:
    """The next jobs of one workflow that are at least `age` seconds old, the oldest first."""
    return await _OVERDUE.rows(
        tx, credential_id=credential_id, age=age, limit=limit, **after._asdict()
    )


async def match(tx: Tx, credential_id: UUID, upstream_ids: Sequence[str]) -> list[AtUpstream]:
    """Those of these upstream jobs that have not ended here."""
    return await _MATCH.rows(tx, credential_id=credential_id, upstream_ids=list(upstream_ids))


async def ask_later(tx: Tx, rows: Sequence[tuple[UUID, float, int]]) -> None:
    """Put off the next status call of jobs, as (job, seconds, absences seen)."""
    ids, delays, absences = ([row[place] for row in rows] for place in range(3))
    await _ASK_LATER.run(tx, ids=ids, delays=delays, absences=absences)


async def started(
    tx: Tx, rows: Sequence[tuple[UUID, datetime | None, datetime | None]]
) -> list[Job]:
    """Record that jobs run, as (job, start, made); returns those that were not known to run.

    Both times are by the upstream's clock.
    """
    ids, starts, made = ([row[place] for row in rows] for place in range(3))
    return await _STARTED.rows(tx, ids=ids, starts=starts, made=made)
