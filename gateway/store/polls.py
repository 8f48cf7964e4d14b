"""Credentials as the engine sees them, and their jobs at the upstream."""

import json
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Job
from gateway.core.schedule import InFlight, Pace
from gateway.store.engine import Tx
from gateway.store.jobs import COLUMNS, job_of

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

# Sorted, so that two processes that touch the same credentials do not deadlock.
_SOON = """
UPDATE credential SET poll_at = now() + $2 * interval '1 second'
FROM (SELECT id FROM credential WHERE id = ANY($1::uuid[])
    AND (poll_at IS NULL OR poll_at = poll_lease_until
      OR poll_at > now() + $2 * interval '1 second')
  ORDER BY id FOR UPDATE) AS pick
WHERE credential.id = pick.id"""

# If somebody asked for a sooner round meanwhile, that stands: also where this one found no job
# left, as the row is read again once its lock is there.
_RELEASE = """
UPDATE credential SET poll_lease_until = NULL, poll_token = NULL, list_order = $4, pace = $5,
  poll_strikes = CASE WHEN $6::bool THEN 0 ELSE 1 END,
  poll_at = CASE WHEN poll_at <> poll_lease_until THEN LEAST(poll_at, now() + $3 * interval '1 second')
    ELSE now() + $3 * interval '1 second' END
WHERE id = $1 AND poll_token = $2"""

_IN_FLIGHT = """
SELECT workflow, count(*) AS jobs, min(age) AS youngest, max(age) AS oldest,
  bool_or(state = 'submitted') AS unstarted
FROM (SELECT workflow, state, EXTRACT(epoch FROM now() - submitted_at)::float8 AS age
  FROM job WHERE credential_id = $1 AND state IN ('submitted', 'running')
  ORDER BY submitted_at LIMIT $2) AS sample GROUP BY workflow"""

_STRAGGLERS = """
SELECT id, upstream_id, workflow, state, absences,
  EXTRACT(epoch FROM now() - submitted_at)::float8, true
FROM job WHERE credential_id = $1 AND state IN ('submitted', 'running')
  AND submitted_at <= now() - $2 * interval '1 second' AND next_at <= now()
ORDER BY submitted_at LIMIT $3"""

_MATCH = """
SELECT id, upstream_id, workflow, state, absences,
  EXTRACT(epoch FROM now() - submitted_at)::float8, true
FROM job WHERE credential_id = $1 AND upstream_id = ANY($2::text[])
  AND state IN ('submitted', 'running')"""

_ASK_LATER = """
UPDATE job SET next_at = now() + u.delay * interval '1 second', absences = u.absences
FROM unnest($1::uuid[], $2::float8[], $3::smallint[]) AS u(id, delay, absences)
WHERE job.id = u.id AND job.state IN ('submitted', 'running')"""

_STARTED = f"""
UPDATE job j SET state = 'running', started_at = COALESCE(u.at, now()), version = j.version + 1
FROM unnest($1::uuid[], $2::timestamptz[]) AS u(id, at), tenant t
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
    """A job that the upstream is working on; `age` in seconds since its submit."""

    id: UUID
    upstream_id: str
    workflow: str
    state: str
    absences: int
    age: float
    due: bool


def pace_of(text: str) -> Pace:
    """Read what a credential's row knows of durations."""
    raw = json.loads(text)
    return Pace(raw.get("typical", {}), raw.get("shortest", {}))


async def claim(tx: Tx, limit: int, *, lease: float, breaker: int, token: UUID) -> list[ToPoll]:
    """Take credentials that are due to be polled."""
    return [ToPoll(*row) for row in await tx.rows(_CLAIM, limit, lease, token, breaker)]


async def next_due(tx: Tx) -> float | None:
    """Seconds until the next credential is due; None when no job is at the upstream."""
    row = await tx.row(_NEXT)
    return row[0] if row else None


async def poll_soon(tx: Tx, credential_ids: Sequence[UUID], seconds: float) -> None:
    """Have credentials polled in so many seconds at the latest."""
    await tx.run(_SOON, list(credential_ids), seconds)


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
    known = json.dumps({"typical": dict(pace.typical), "shortest": dict(pace.shortest)})
    await tx.run(_RELEASE, credential_id, token, wait, list_order, known, is_safe)


async def in_flight(tx: Tx, credential_id: UUID, limit: int) -> list[InFlight]:
    """The jobs of a credential at the upstream, by workflow; of very many, the oldest."""
    return [InFlight(*row) for row in await tx.rows(_IN_FLIGHT, credential_id, limit)]


async def stragglers(tx: Tx, credential_id: UUID, age: float, limit: int) -> list[AtUpstream]:
    """The oldest jobs of at least that age that are due to be asked about by themselves."""
    return [AtUpstream(*row) for row in await tx.rows(_STRAGGLERS, credential_id, age, limit)]


async def match(tx: Tx, credential_id: UUID, upstream_ids: Sequence[str]) -> list[AtUpstream]:
    """Those of these upstream jobs that are still awaited."""
    return [AtUpstream(*r) for r in await tx.rows(_MATCH, credential_id, list(upstream_ids))]


async def ask_later(tx: Tx, rows: Sequence[tuple[UUID, float, int]]) -> None:
    """Put off the next status call, as (job, seconds, absences seen)."""
    await tx.run(_ASK_LATER, [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


async def started(tx: Tx, rows: Sequence[tuple[UUID, object]]) -> list[Job]:
    """Note that jobs run; returns those for which it is news."""
    found = await tx.rows(_STARTED, [row[0] for row in rows], [row[1] for row in rows])
    return [job_of(row) for row in found]


async def failed(tx: Tx, credential_id: UUID, pause: float, *, probe: bool, room: int) -> None:
    """Count a failure of the upstream against a credential, let it rest, and halve its room."""
    await tx.run(_FAILED, credential_id, pause, probe, room)


async def well(tx: Tx, credential_id: UUID, *, submits: int, room: int) -> None:
    """Note that the upstream answers for a credential, and widen its room by what it took."""
    await tx.run(_WELL, credential_id, submits, room, _WIDER)


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
