"""Deliveries that are due: claim them, with everything that is needed to send them.

The flow gateway/flows/deliver calls this on every wake-up of the verb `deliver` and in every sweep. A
claim takes deliveries for the length of a lease, counts the attempt before it runs, and gives them one
fencing token (`lease_token`); webhooks/attempts.py repeats the token in each write. Rows are locked with
FOR UPDATE SKIP LOCKED. After a crash the lease lapses, and the next claim takes the delivery with one
strike more; enough strikes put it in quarantine.

A lane is the queue of one receiver: of an endpoint, or of the callback URL of jobs.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.conditions import is_rested, is_served
from gateway.store.database import Tx
from gateway.store.statement import Query, Statement


class DueDeliveries(NamedTuple):
    """Whether any delivery is pending, and whether any due one has two strikes or more."""

    pending: bool
    suspects: bool


class ToDeliver(NamedTuple):
    """A claimed delivery with the frozen bytes that it sends.

    `spared` of its attempts do not count on the schedule. `unwell` says that its endpoint is failing.
    """

    id: UUID
    tenant_id: UUID
    event_id: UUID
    job_id: UUID | None
    endpoint_id: UUID | None
    url: str
    attempts: int
    spared: int
    resent: bool
    type: str
    body: str
    event_at: datetime
    delays: list[int] | None
    headers_sealed: bytes | None
    unwell: bool
    claimed_at: datetime
    lane: UUID


class Capped(NamedTuple):
    """An endpoint with caps of its own; `missing` is the part of a token that its bucket lacks."""

    id: UUID
    rate_limit: int | None
    missing: float | None

    @property
    def wait(self) -> float | None:
        """Seconds until its token bucket has room for one more; None where it has no rate limit."""
        return None if self.rate_limit is None else (self.missing or 1.0) / self.rate_limit


class JobTrace(NamedTuple):
    """The trace context of a job, and whether its tenant has it sent to receivers."""

    job_id: UUID
    traceparent: str
    is_sent: bool


class SealedSecret(NamedTuple):
    """A live signing secret; without an endpoint it is the tenant's default."""

    id: UUID
    tenant_id: UUID
    endpoint_id: UUID | None
    algorithm: str
    sealed: bytes


# The token bucket of an endpoint `p` with a rate limit: it holds at most a tenth of a second's tokens, so
# that a burst after a pause is hardly more than the rate allows.
_TOKENS = """CASE WHEN p.rate_limit IS NOT NULL THEN LEAST(GREATEST(1, p.rate_limit * 0.1),
    p.tokens + p.rate_limit
    * EXTRACT(epoch FROM now() - GREATEST(p.tokens_at, now() - interval '1 minute'))) END"""

_HOLD = Query(
    f"""
SELECT p.id, p.rate_limit, GREATEST(0, 1 - {_TOKENS})::float8 AS missing
FROM endpoint p WHERE (p.rate_limit IS NOT NULL OR p.concurrency IS NOT NULL)
  AND {is_rested("p")} AND {is_served("p")}
  AND EXISTS (SELECT 1 FROM delivery d WHERE d.lane = p.id AND d.state = 'pending'
    AND d.next_at <= now())
ORDER BY p.id FOR UPDATE OF p SKIP LOCKED""",
    Capped,
)

CLAIM = Query(
    f"""
-- A skip scan: one index probe for each lane with a pending delivery.
WITH RECURSIVE lane AS (
  (SELECT lane, next_at FROM delivery WHERE state = 'pending' ORDER BY lane, next_at LIMIT 1)
  UNION ALL
  SELECT d.lane, d.next_at FROM lane CROSS JOIN LATERAL (
    SELECT o.lane, o.next_at FROM delivery o WHERE o.state = 'pending' AND o.lane > lane.lane
    ORDER BY o.lane, o.next_at LIMIT 1) AS d
), room AS (
  SELECT lane.lane, {_TOKENS} AS tokens,
    GREATEST(0, :free - COALESCE(taken.claimed, 0)) AS beginning,
    LEAST(COALESCE(taken.free, :free),
    -- A failing endpoint has two places: ten of them that hang must not hold all slots of a worker.
    CASE WHEN p.failures >= 5 THEN 2 - COALESCE(taken.claimed, 0) END,
    CASE WHEN p.concurrency IS NOT NULL THEN p.concurrency - (SELECT count(*) FROM delivery b
      WHERE b.lane = lane.lane AND b.state = 'pending' AND b.next_at > now()
        AND b.next_at <= now() + (:lease + 60) * interval '1 second' AND b.lease_token IS NOT NULL)
      END)::int AS free
  FROM lane LEFT JOIN endpoint p ON p.id = lane.lane
  LEFT JOIN unnest(:taken_lane::uuid[], :taken_free::int[], :taken_claimed::int[])
    AS taken(lane, free, claimed) ON taken.lane = lane.lane
  WHERE lane.next_at <= now() AND {is_rested("p")} AND {is_served("p")}
    AND (p.rate_limit IS NULL AND p.concurrency IS NULL OR p.id = ANY(:held::uuid[]))
), share AS (
  -- LEAST ignores a null: the tokens of a lane without a rate limit.
  SELECT lane, tokens, LEAST(free, floor(tokens), ceil(:limit::float8 / count(*) OVER ()),
    GREATEST(beginning, ceil(:ahead::float8 / count(*) OVER ())))::int AS most
  FROM room WHERE free > 0 AND (tokens IS NULL OR tokens >= 1) ORDER BY random()
), pick AS (
  SELECT d.id, share.lane, share.tokens FROM share CROSS JOIN LATERAL (
    SELECT id FROM delivery WHERE lane = share.lane AND state = 'pending' AND next_at <= now()
      AND CASE WHEN :suspects::bool THEN strikes >= :suspicious ELSE strikes < :suspicious END
    ORDER BY next_at LIMIT share.most FOR UPDATE SKIP LOCKED) AS d
  LIMIT :limit
), spent AS (
  UPDATE endpoint p SET tokens = taken.tokens - taken.count, tokens_at = now()
  FROM (SELECT lane, tokens, count(*) FROM pick WHERE tokens IS NOT NULL GROUP BY lane, tokens)
    AS taken WHERE p.id = taken.lane
)
UPDATE delivery d SET attempts = d.attempts + 1, strikes = d.strikes + 1,
  next_at = now() + :lease * interval '1 second', lease_token = :token
FROM pick JOIN delivery o ON o.id = pick.id JOIN event e ON e.id = o.event_id
  LEFT JOIN endpoint p ON p.id = o.endpoint_id
WHERE d.id = pick.id
RETURNING d.id, d.tenant_id, d.event_id, d.job_id, d.endpoint_id, COALESCE(d.url, p.url) AS url,
  d.attempts, d.spared, d.resent_at IS NOT NULL AS resent, e.type, e.body,
  e.created_at AS event_at, p.delays, p.headers_sealed, p.failing_since IS NOT NULL AS unwell,
  now() AS claimed_at, d.lane""",
    ToDeliver,
)

_TRACES = Query(
    """
SELECT j.id AS job_id, j.traceparent,
  COALESCE('receivers' = ANY(t.send_traceparent), false) AS is_sent
FROM job j JOIN tenant t ON t.id = j.tenant_id
WHERE j.id = ANY(:job_ids::uuid[]) AND j.traceparent IS NOT NULL""",
    JobTrace,
)

_GIVE_BACK = Statement(
    """
UPDATE delivery SET attempts = attempts - 1, strikes = strikes - 1, lease_token = NULL,
  next_at = now() + interval '1 second'
WHERE id = ANY(:ids::uuid[]) AND lease_token = ANY(:tokens::uuid[]) AND state = 'pending'"""
)

_SECRETS = Query(
    """
SELECT s.id, s.tenant_id, s.endpoint_id, s.algorithm, s.sealed
FROM (SELECT DISTINCT tenant_id, endpoint_id
  FROM unnest(:tenants::uuid[], :endpoints::uuid[]) AS u(tenant_id, endpoint_id)) AS u
JOIN signing_secret s ON s.tenant_id = u.tenant_id
  AND s.endpoint_id IS NOT DISTINCT FROM u.endpoint_id
WHERE s.expires_at IS NULL OR s.expires_at > now()
ORDER BY s.id DESC""",
    SealedSecret,
)

# The literal 2 is that of the partial index, here and below.
_DUE = Query(
    """
SELECT EXISTS (SELECT 1 FROM delivery WHERE state = 'pending') AS pending,
  EXISTS (SELECT 1 FROM delivery WHERE state = 'pending' AND strikes >= 2 AND next_at <= now())
    AS suspects""",
    DueDeliveries,
)

_SUSPECTS = Statement(
    f"""
SELECT EXISTS (SELECT 1 FROM delivery d LEFT JOIN endpoint p ON p.id = d.lane
  WHERE d.state = 'pending' AND d.strikes >= 2 AND d.strikes >= :suspicious
    AND d.next_at <= now() AND {is_rested("p")} AND {is_served("p")}) AS found"""
)

_GIVE_UP = Statement(
    """
UPDATE delivery SET state = 'parked', lease_token = NULL, completed_at = now(), last_error =
  'the gateway broke down ' || strikes || ' times while it handled this delivery; report it, then '
  || 'resend the delivery'
WHERE state = 'pending' AND strikes >= 2 AND strikes >= :strikes AND next_at <= now()"""
)


async def due(tx: Tx) -> DueDeliveries:
    """Whether there is anything to claim: two index probes, far cheaper than planning the claim."""
    return await _DUE.one(tx)


async def hold_capped(tx: Tx) -> list[Capped]:
    """Lock the endpoints with caps of their own that have something due, in the order of their ids.

    Endpoints that another claim has locked are left out (SKIP LOCKED), so no two claims count the same
    room. This is a statement before the claim, so that the claim sees what earlier ones took.
    """
    return await _HOLD.rows(tx)


async def claim(
    tx: Tx,
    limit: int,
    *,
    ahead: int,
    free: int,
    lease: float,
    suspicious: int,
    token: UUID,
    taken: Sequence[tuple[UUID, int, int]] = (),
    held: Sequence[UUID] = (),
    suspects: bool = False,
) -> list[ToDeliver]:
    """Claim due deliveries for `lease` seconds, fairly over lanes; of each the ones due for longest.

    A lane gets at most `free`, or what `taken` says for it, as (lane, free, claimed so far). All lanes
    together get at most `ahead` beyond the first `free` of each: the rest of `limit` is kept for lanes
    with little claimed. An endpoint with caps of its own is served only if it is in `held`, which
    `hold_capped` returned in the same transaction; its caps hold for all processes together.

    Deliveries with `suspicious` strikes are in quarantine: they are claimed only with `suspects`, and
    then only they. Costs one index probe for each lane with a pending delivery.
    """
    lanes, frees, claimed = [list(column) for column in zip(*taken, strict=True)] or [[], [], []]
    return await CLAIM.rows(
        tx,
        limit=limit,
        ahead=ahead,
        free=free,
        lease=lease,
        suspicious=suspicious,
        token=token,
        taken_lane=lanes,
        taken_free=frees,
        taken_claimed=claimed,
        held=list(held),
        suspects=suspects,
    )


async def traces(tx: Tx, job_ids: Sequence[UUID]) -> dict[UUID, JobTrace]:
    """The trace contexts of those of these jobs that have one."""
    return {row.job_id: row for row in await _TRACES.rows(tx, job_ids=list(job_ids))}


async def give_back(tx: Tx, rows: Sequence[tuple[UUID, UUID]]) -> None:
    """Undo the claim of deliveries, as (id, token), that had no turn; they are due in a second.

    Until then others have their turn. Neither the attempt nor the strike stays counted.
    """
    await _GIVE_BACK.run(tx, ids=[row[0] for row in rows], tokens=[row[1] for row in rows])


async def secrets(tx: Tx, wanted: Sequence[tuple[UUID, UUID | None]]) -> list[SealedSecret]:
    """The live signing secrets of receivers, as (tenant, endpoint), newest first."""
    tenants, endpoints = [one[0] for one in wanted], [one[1] for one in wanted]
    return await _SECRETS.rows(tx, tenants=tenants, endpoints=endpoints)


async def has_suspects(tx: Tx, suspicious: int) -> bool:
    """Whether deliveries in quarantine are due: those with that many strikes."""
    return bool((await _SUSPECTS.one(tx, suspicious=suspicious)).found)


async def give_up(tx: Tx, strikes: int) -> int:
    """Park due deliveries with that many strikes; returns how many."""
    return await _GIVE_UP.run(tx, strikes=strikes)
