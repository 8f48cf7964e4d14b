"""Credentials as the engine sees them, and their jobs at the upstream."""

import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Job
from gateway.core.schedule import LONG_JOB, InFlight, Pace, overdue_after
from gateway.store.database import Tx
from gateway.store.work.jobs import COLUMNS, job_of, our_time

# A credential with an open breaker, or a rejected one, is tried once it rested, by whoever takes the
# probe: that pauses it for everybody else.
_CLAIM = """
UPDATE credential SET poll_at = now() + $2 * interval '1 second',
  poll_lease_until = now() + $2 * interval '1 second', poll_token = $3,
  poll_strikes = LEAST(poll_strikes, 1000) + 1,
  paused_until = CASE WHEN failures >= $4 OR rejected_at IS NOT NULL
    THEN now() + $2 * interval '1 second' END
WHERE id = ANY(ARRAY(SELECT id FROM credential
  WHERE poll_at <= now() AND (poll_lease_until IS NULL OR poll_lease_until <= now())
    AND (paused_until IS NULL OR paused_until <= now())
  ORDER BY poll_at LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING id, tenant_id, version, base_url, sealed, failures, rejected_at IS NOT NULL, list_order,
  pace, poll_strikes - 1"""

_NEXT = """
SELECT EXTRACT(epoch FROM min(GREATEST(poll_at, paused_until, poll_lease_until)) - now())::float8
FROM credential WHERE poll_at IS NOT NULL"""

# No sooner than a job of such a workflow can have ended, or have started where it runs for long. Sorted,
# so that two processes that touch the same credentials do not deadlock.
_SOON = """
UPDATE credential SET poll_at = now() + pick.seconds * interval '1 second'
FROM (SELECT c.id, w.seconds FROM credential c CROSS JOIN LATERAL (
    SELECT min(GREATEST($3::float8, LEAST($4::float8,
      0.9 * COALESCE((c.pace::json->'shortest'->>u.workflow)::float8, 0)))) AS seconds
    FROM unnest($1::uuid[], $2::text[]) AS u(id, workflow) WHERE u.id = c.id) AS w
  WHERE c.id = ANY($1::uuid[]) AND (c.poll_at IS NULL OR c.poll_at = c.poll_lease_until
    OR c.poll_at > now() + w.seconds * interval '1 second')
  ORDER BY c.id FOR UPDATE OF c) AS pick
WHERE credential.id = pick.id"""

# If somebody asked for a sooner round meanwhile, that stands: also where this one found no job
# left, as the row is read again once its lock is there.
_RELEASE = """
UPDATE credential SET poll_lease_until = NULL, poll_token = NULL, list_order = $4, pace = $5,
  poll_strikes = CASE WHEN $6::bool THEN 0 ELSE 1 END,
  poll_at = CASE WHEN poll_at <> poll_lease_until THEN LEAST(poll_at, now() + $3 * interval '1 second')
    ELSE now() + $3 * interval '1 second' END
WHERE id = $1 AND poll_token = $2"""

# One probe each for the workflows of a credential, and for the ends of each of them: it takes the same
# however many jobs there are. The jobs in flight are those of the tenant, which has one credential
# that matters, and are counted elsewhere.
_IN_FLIGHT = """
WITH RECURSIVE flow AS (
  (SELECT workflow, 1 AS place FROM job WHERE credential_id = $1
    AND state IN ('submitted', 'running') ORDER BY workflow LIMIT 1)
  UNION ALL
  SELECT next.workflow, flow.place + 1 FROM flow CROSS JOIN LATERAL (
    SELECT workflow FROM job WHERE credential_id = $1 AND state IN ('submitted', 'running')
      AND workflow > flow.workflow ORDER BY workflow LIMIT 1) AS next
  WHERE flow.place < $6
)
SELECT flow.workflow, EXTRACT(epoch FROM now() - newest.at)::float8,
  EXTRACT(epoch FROM now() - oldest.submitted_at)::float8,
  EXTRACT(epoch FROM now() - expected.submitted_at)::float8,
  newest.unstarted OR oldest.state = 'submitted'
FROM flow LEFT JOIN unnest($3::text[], $4::float8[]) AS known(workflow, overdue)
    ON known.workflow = flow.workflow
  CROSS JOIN LATERAL (SELECT max(submitted_at) AS at, bool_or(state = 'submitted') AS unstarted
    FROM (SELECT submitted_at, state FROM job WHERE credential_id = $1
      AND state IN ('submitted', 'running') AND workflow = flow.workflow
      ORDER BY submitted_at DESC LIMIT $5) AS few) AS newest
  CROSS JOIN LATERAL (SELECT submitted_at, state FROM job WHERE credential_id = $1
    AND state IN ('submitted', 'running') AND workflow = flow.workflow
    ORDER BY submitted_at LIMIT 1) AS oldest
  LEFT JOIN LATERAL (SELECT submitted_at FROM job WHERE credential_id = $1
    AND state IN ('submitted', 'running') AND workflow = flow.workflow
    AND submitted_at > now() - COALESCE(known.overdue, $2) * interval '1 second'
    ORDER BY submitted_at LIMIT 1) AS expected ON true
WHERE newest.at IS NOT NULL"""

_COUNT = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM job WHERE credential_id = $1
    AND state IN ('submitted', 'running') ORDER BY workflow, submitted_at LIMIT $3) AS few)::int,
  (SELECT COALESCE(sum(in_flight), 0) FROM tenant_load WHERE tenant_id = $2)::int"""

_AT_UPSTREAM = """
SELECT id, upstream_id, workflow, state, absences,
  EXTRACT(epoch FROM now() - submitted_at)::float8, next_at <= now(), submitted_at
FROM job WHERE credential_id = $1 AND state IN ('submitted', 'running')"""

# From a place in the order of the index, so that who asks again goes on with the next ones.
_WALK = f"""{_AT_UPSTREAM} AND (workflow, submitted_at) >= ($2, $3)
  AND (workflow, submitted_at, id) > ($2, $3, $4) ORDER BY workflow, submitted_at, id LIMIT $5"""

_OVERDUE = f"""{_AT_UPSTREAM} AND workflow = $2 AND submitted_at >= $3
  AND submitted_at <= now() - $6 * interval '1 second' AND (submitted_at, id) > ($3, $4)
ORDER BY submitted_at, id LIMIT $5"""

_MATCH = f"{_AT_UPSTREAM} AND upstream_id = ANY($2::text[])"

_ASK_LATER = """
UPDATE job SET next_at = now() + u.delay * interval '1 second', absences = u.absences
FROM unnest($1::uuid[], $2::float8[], $3::smallint[]) AS u(id, delay, absences)
WHERE job.id = u.id AND job.state IN ('submitted', 'running')"""

_STARTED = f"""
UPDATE job j SET state = 'running', version = j.version + 1,
  started_at = COALESCE({our_time("u.at")}, now())
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS u(id, at, made_at), tenant t
WHERE j.id = u.id AND j.state = 'submitted' AND t.id = j.tenant_id RETURNING {COLUMNS}"""

# Additive increase, multiplicative decrease. What fails while the credential rests already belongs
# to the same trouble; only a probe is a new one.
_FAILED = """
UPDATE credential SET
  failures = failures + CASE WHEN paused_until > now() AND NOT $3::bool THEN 0 ELSE 1 END,
  submit_room = CASE WHEN paused_until > now() AND NOT $3::bool THEN submit_room
    ELSE GREATEST(1, COALESCE(submit_room, $4::int) / 2) END,
  paused_until = GREATEST(CASE WHEN $3 THEN NULL ELSE paused_until END,
    now() + $2 * interval '1 second')
WHERE id = $1"""

_WELL = """
UPDATE credential SET failures = 0, paused_until = NULL, rejected_at = NULL, rejected_reason = NULL,
  submit_room = CASE WHEN submit_room < $3 THEN
    submit_room + GREATEST(LEAST($2::int, 1), $4::int * $2 / submit_room) END
WHERE id = $1"""

_REJECT = """
UPDATE credential c SET rejected_at = now(), rejected_reason = $2,
  paused_until = CASE WHEN n.superseded THEN NULL ELSE now() + $3 * interval '1 second' END
FROM (SELECT o.id, o.rejected_at IS NULL AS is_news, EXISTS (SELECT 1 FROM credential later
    WHERE later.tenant_id = o.tenant_id AND later.version > o.version) AS superseded
  FROM credential o WHERE o.id = $1 FOR UPDATE OF o) AS n
WHERE c.id = n.id RETURNING n.is_news, n.superseded"""

_RECONSIDER = (
    "UPDATE credential SET paused_until = NULL WHERE tenant_id = $1 AND rejected_at IS NOT NULL",
    """
UPDATE job SET next_at = now() FROM credential c WHERE c.id = job.credential_id
  AND c.rejected_at IS NOT NULL AND job.tenant_id = $1 AND job.state = 'submitting'
  AND job.lease_token IS NULL AND job.next_at > now()""",
)


_NEWEST = 10
_MOST_WORKFLOWS = 100
# How much the room grows with each round of submits that it admits.
_WIDER = 4


class ToPoll(NamedTuple):
    """A credential whose jobs are to be asked about, taken for the length of a lease.

    `strikes` rounds in a row before this one were begun and not ended.
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
    """A job that the upstream is working on; `age` in seconds since its submit.

    `due` is whether it may be asked about by itself.
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
        """Where it is in the order of jobs at the upstream."""
        return JobPosition(self.workflow, self.submitted_at, self.id)


class JobPosition(NamedTuple):
    """A place in the order of a credential's jobs at the upstream: by workflow, then the oldest first."""

    workflow: str = ""
    submitted_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    id: UUID = UUID(int=0)


class Flight(NamedTuple):
    """The jobs of a credential at the upstream: by workflow, and how many, roughly where they are many.

    `few` is their exact number up to the limit that was asked for.
    """

    groups: Sequence[InFlight] = ()
    few: int = 0
    jobs: int = 0


def pace_of(text: str) -> Pace:
    """Read what a credential's row knows of durations."""
    raw = json.loads(text)
    durations = (raw.get(name, {}) for name in ("typical", "shortest", "longest"))
    return Pace(*durations, credit=raw.get("credit", 0.0))


async def claim(tx: Tx, limit: int, *, lease: float, breaker: int, token: UUID) -> list[ToPoll]:
    """Take credentials that are due to be polled."""
    return [ToPoll(*row) for row in await tx.rows(_CLAIM, limit, lease, token, breaker)]


async def next_due(tx: Tx) -> float | None:
    """Seconds until the next credential is due; None when no job is at the upstream."""
    row = await tx.row(_NEXT)
    return row[0] if row else None


async def poll_soon(tx: Tx, taken: Collection[tuple[UUID, str]], least: float) -> None:
    """Have credentials polled when jobs that were just taken, as (credential, workflow), can end.

    That is in `least` seconds where nobody knows how long such jobs take.
    """
    pairs = sorted(taken)
    ids, workflows = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    await tx.run(_SOON, ids, workflows, least, LONG_JOB)


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
    """Give a credential back, due again in `wait` seconds; None when no job is at the upstream.

    Its strikes are forgotten where asking about it is safe, else all but one.
    """
    known = json.dumps(
        {
            "typical": dict(pace.typical),
            "shortest": dict(pace.shortest),
            "longest": dict(pace.longest),
            "credit": round(pace.credit, 3),
        }
    )
    await tx.run(_RELEASE, credential_id, token, wait, list_order, known, is_safe)


async def in_flight(tx: Tx, credential_id: UUID, tenant_id: UUID, pace: Pace, few: int) -> Flight:
    """The jobs of a credential at the upstream, of up to a hundred workflows."""
    known = list(pace.typical)
    overdue = [overdue_after(workflow, pace) for workflow in known]
    unknown = overdue_after("", Pace())
    limits = (_NEWEST, _MOST_WORKFLOWS)
    rows = await tx.rows(_IN_FLIGHT, credential_id, unknown, known, overdue, *limits)
    count, load = await tx.one(_COUNT, credential_id, tenant_id, few)
    return Flight([InFlight(*row) for row in rows], count, count if count < few else max(load, few))


async def walk(tx: Tx, credential_id: UUID, after: JobPosition, limit: int) -> list[AtUpstream]:
    """The next jobs of a credential at the upstream, in their order."""
    return [AtUpstream(*row) for row in await tx.rows(_WALK, credential_id, *after, limit)]


async def overdue(
    tx: Tx, credential_id: UUID, after: JobPosition, age: float, limit: int
) -> list[AtUpstream]:
    """The next jobs of a workflow that are of at least that age, the oldest first."""
    rows = await tx.rows(_OVERDUE, credential_id, *after, limit, age)
    return [AtUpstream(*row) for row in rows]


async def match(tx: Tx, credential_id: UUID, upstream_ids: Sequence[str]) -> list[AtUpstream]:
    """Those of these upstream jobs that are still awaited."""
    return [AtUpstream(*r) for r in await tx.rows(_MATCH, credential_id, list(upstream_ids))]


async def ask_later(tx: Tx, rows: Sequence[tuple[UUID, float, int]]) -> None:
    """Put off the next status call, as (job, seconds, absences seen)."""
    await tx.run(_ASK_LATER, [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


async def started(
    tx: Tx, rows: Sequence[tuple[UUID, datetime | None, datetime | None]]
) -> list[Job]:
    """Note that jobs run, as (job, start, made) by the upstream's clock; those for which it is news."""
    found = await tx.rows(_STARTED, *(list(column) for column in zip(*rows, strict=True)))
    return [job_of(row) for row in found]


async def failed(tx: Tx, credential_id: UUID, pause: float, *, probe: bool, room: int) -> None:
    """Count a failure of the upstream against a credential, let it rest, and halve its room."""
    await tx.run(_FAILED, credential_id, pause, probe, room)


async def well(tx: Tx, credential_id: UUID, *, submits: int, room: int) -> None:
    """Note that the upstream answers for a credential, and widen its room by what it took."""
    await tx.run(_WELL, credential_id, submits, room, _WIDER)


async def rest(tx: Tx, credential_id: UUID, seconds: float) -> None:
    """Let a credential rest, for no fault of the upstream."""
    await tx.run(
        "UPDATE credential SET paused_until = now() + $2 * interval '1 second' WHERE id = $1",
        credential_id,
        seconds,
    )


async def unpause(tx: Tx, credential_id: UUID) -> None:
    """Give a probe back that was not used."""
    await tx.run("UPDATE credential SET paused_until = NULL WHERE id = $1", credential_id)


async def reject(tx: Tx, credential_id: UUID, reason: str, pause: float) -> tuple[bool, bool]:
    """Park a credential that the upstream does not honour: if that is news, if it is superseded."""
    row = await tx.row(_REJECT, credential_id, reason, pause)
    return (row.is_news, row.superseded) if row else (False, False)


async def reconsider(tx: Tx, tenant_id: UUID) -> None:
    """Have the jobs of rejected credentials asked about at once: there is a new one to ask with."""
    for statement in _RECONSIDER:
        await tx.run(statement, tenant_id)
