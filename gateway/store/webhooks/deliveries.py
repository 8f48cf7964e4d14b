"""Deliveries that are due: claim them, with what is needed to send them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx

# Endpoints with a rate or a concurrency of their own that have something due. Their rows are held, so
# that no two claims count the same room; and before the claim, so that it sees what others took.
# What of its rate an endpoint has not used: at most a tenth of a second's, so that what comes at once
# after a rest is hardly more than that rate allows.
_TOKENS = """CASE WHEN p.rate_limit IS NOT NULL THEN LEAST(GREATEST(1, p.rate_limit * 0.1),
    p.tokens + p.rate_limit
    * EXTRACT(epoch FROM now() - GREATEST(p.tokens_at, now() - interval '1 minute'))) END"""

_HOLD = f"""
SELECT p.id, p.rate_limit, GREATEST(0, 1 - {_TOKENS})::float8
FROM endpoint p WHERE (p.rate_limit IS NOT NULL OR p.concurrency IS NOT NULL)
  AND (p.paused_until IS NULL OR p.paused_until <= now())
  AND p.disabled_at IS NULL AND p.deleted_at IS NULL
  AND EXISTS (SELECT 1 FROM delivery d WHERE d.lane = p.id AND d.state = 'pending'
    AND d.next_at <= now())
ORDER BY p.id FOR UPDATE OF p SKIP LOCKED"""

# Walks the lanes that have something due, one index probe each, and shares the room out among them: a
# lane gets all of it where no other one waits, but for a part that is kept for lanes with little
# claimed. How much one lane may take is for the caller to say, but for endpoints with caps of their
# own, which hold for all processes together.
_CLAIM = f"""
WITH RECURSIVE lane AS (
  (SELECT lane, next_at FROM delivery WHERE state = 'pending' ORDER BY lane, next_at LIMIT 1)
  UNION ALL
  SELECT d.lane, d.next_at FROM lane CROSS JOIN LATERAL (
    SELECT o.lane, o.next_at FROM delivery o WHERE o.state = 'pending' AND o.lane > lane.lane
    ORDER BY o.lane, o.next_at LIMIT 1) AS d
), room AS (
  SELECT lane.lane, {_TOKENS} AS tokens,
    GREATEST(0, $2 - COALESCE(taken.claimed, 0)) AS beginning,
    LEAST(COALESCE(taken.free, $2),
    -- One that only fails keeps two places: ten of them that hang must not hold all there are.
    CASE WHEN p.failures >= 5 THEN 2 - COALESCE(taken.claimed, 0) END,
    CASE WHEN p.concurrency IS NOT NULL THEN p.concurrency - (SELECT count(*) FROM delivery b
      WHERE b.lane = lane.lane AND b.state = 'pending' AND b.next_at > now()
        AND b.next_at <= now() + ($3 + 60) * interval '1 second' AND b.lease_token IS NOT NULL)
      END)::int AS free
  FROM lane LEFT JOIN endpoint p ON p.id = lane.lane
  LEFT JOIN unnest($8::uuid[], $9::int[], $10::int[]) AS taken(lane, free, claimed)
    ON taken.lane = lane.lane
  WHERE lane.next_at <= now() AND (p.paused_until IS NULL OR p.paused_until <= now())
    AND p.disabled_at IS NULL AND p.deleted_at IS NULL
    AND (p.rate_limit IS NULL AND p.concurrency IS NULL OR p.id = ANY($7::uuid[]))
), share AS (
  -- LEAST leaves a null out: that of a lane without a rate.
  SELECT lane, tokens, LEAST(free, floor(tokens), ceil($1::float8 / count(*) OVER ()),
    GREATEST(beginning, ceil($11::float8 / count(*) OVER ())))::int AS most
  FROM room WHERE free > 0 AND (tokens IS NULL OR tokens >= 1) ORDER BY random()
), pick AS (
  SELECT d.id, share.lane, share.tokens FROM share CROSS JOIN LATERAL (
    SELECT id FROM delivery WHERE lane = share.lane AND state = 'pending' AND next_at <= now()
      AND CASE WHEN $6::bool THEN strikes >= $5 ELSE strikes < $5 END
    ORDER BY next_at LIMIT share.most FOR UPDATE SKIP LOCKED) AS d
  LIMIT $1
), spent AS (
  UPDATE endpoint p SET tokens = taken.tokens - taken.count, tokens_at = now()
  FROM (SELECT lane, tokens, count(*) FROM pick WHERE tokens IS NOT NULL GROUP BY lane, tokens)
    AS taken WHERE p.id = taken.lane
)
UPDATE delivery d SET attempts = d.attempts + 1, strikes = d.strikes + 1,
  next_at = now() + $3 * interval '1 second', lease_token = $4
FROM pick JOIN delivery o ON o.id = pick.id JOIN event e ON e.id = o.event_id
  LEFT JOIN endpoint p ON p.id = o.endpoint_id
WHERE d.id = pick.id
RETURNING d.id, d.tenant_id, d.event_id, d.job_id, d.endpoint_id, COALESCE(d.url, p.url),
  d.attempts, d.spared, d.resent_at IS NOT NULL, e.type, e.body, e.created_at, p.delays,
  p.headers_sealed, p.failing_since IS NOT NULL, now(), d.lane"""

# As if it had not been claimed; due a moment later, so that others have their turn first.
_GIVE_BACK = """
UPDATE delivery SET attempts = attempts - 1, strikes = strikes - 1, lease_token = NULL,
  next_at = now() + interval '1 second'
WHERE id = ANY($1::uuid[]) AND lease_token = ANY($2::uuid[]) AND state = 'pending'"""

_SECRETS = """
SELECT s.id, s.tenant_id, s.endpoint_id, s.algorithm, s.sealed
FROM (SELECT DISTINCT tenant_id, endpoint_id
  FROM unnest($1::uuid[], $2::uuid[]) AS u(tenant_id, endpoint_id)) AS u
JOIN signing_secret s ON s.tenant_id = u.tenant_id
  AND s.endpoint_id IS NOT DISTINCT FROM u.endpoint_id
WHERE s.expires_at IS NULL OR s.expires_at > now()
ORDER BY s.id DESC"""

# One index probe each: the statements that claim take Postgres longer to plan. The literal is that of
# the index.
_DUE = """
SELECT EXISTS (SELECT 1 FROM delivery WHERE state = 'pending'),
  EXISTS (SELECT 1 FROM delivery WHERE state = 'pending' AND strikes >= 2 AND next_at <= now())"""

# The literal is that of the index.
_SUSPECTS = """
SELECT EXISTS (SELECT 1 FROM delivery d LEFT JOIN endpoint p ON p.id = d.lane
  WHERE d.state = 'pending' AND d.strikes >= 2 AND d.strikes >= $1 AND d.next_at <= now()
    AND (p.paused_until IS NULL OR p.paused_until <= now())
    AND p.disabled_at IS NULL AND p.deleted_at IS NULL)"""

_GIVE_UP = """
UPDATE delivery SET state = 'parked', lease_token = NULL, completed_at = now(), last_error =
  'the gateway broke down ' || strikes || ' times while it handled this delivery; report it, then '
  || 'resend the delivery'
WHERE state = 'pending' AND strikes >= 2 AND strikes >= $1 AND next_at <= now()"""


class DueDeliveries(NamedTuple):
    """Whether any delivery is pending at all, or brought down who sent it."""

    pending: bool
    suspects: bool


class ToDeliver(NamedTuple):
    """A claimed delivery with the frozen bytes that it sends.

    `spared` of its attempts do not count on the schedule; `unwell` while its endpoint fails.
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
    """An endpoint with caps of its own; `missing` is the part of a token that it lacks, or null."""

    id: UUID
    rate_limit: int | None
    missing: float | None

    @property
    def wait(self) -> float | None:
        """Seconds until it may take one more after this; None where no rate is limited."""
        return None if self.rate_limit is None else (self.missing or 1.0) / self.rate_limit


class SealedSecret(NamedTuple):
    """A live signing secret; without an endpoint it is the tenant's default."""

    id: UUID
    tenant_id: UUID
    endpoint_id: UUID | None
    algorithm: str
    sealed: bytes


async def due(tx: Tx) -> DueDeliveries:
    """What may be claimed; cheap to ask where nothing is."""
    return DueDeliveries(*await tx.one(_DUE))


async def hold_capped(tx: Tx) -> list[Capped]:
    """Hold the endpoints with caps of their own that have something due, but for those held."""
    return [Capped(*row) for row in await tx.rows(_HOLD)]


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
    """Take due deliveries, fairly over receivers; the attempt is counted by being claimed.

    Of one receiver at most `free`, or what `taken` says, as (lane, free, claimed so far). All
    receivers together get at most `ahead` beyond the first `free` of each: the rest of `limit` is
    kept for those that have little claimed. Of those with caps of their own only from those that
    are held, in the same transaction.
    Suspects are those that were claimed that often without a recorded outcome: they or the others.
    """
    known = [list(column) for column in zip(*taken, strict=True)] or [[], [], []]
    rows = await tx.rows(
        _CLAIM, limit, free, lease, token, suspicious, suspects, list(held), *known, ahead
    )
    return [ToDeliver(*row) for row in rows]


async def give_back(tx: Tx, rows: Sequence[tuple[UUID, UUID]]) -> None:
    """Let deliveries that were claimed, as (id, token), and had no turn be claimed again."""
    await tx.run(_GIVE_BACK, [row[0] for row in rows], [row[1] for row in rows])


async def secrets(tx: Tx, wanted: Sequence[tuple[UUID, UUID | None]]) -> list[SealedSecret]:
    """The live signing secrets of receivers, as (tenant, endpoint), newest first."""
    rows = await tx.rows(_SECRETS, [one[0] for one in wanted], [one[1] for one in wanted])
    return [SealedSecret(*row) for row in rows]


async def has_suspects(tx: Tx, suspicious: int) -> bool:
    """Whether deliveries are due that were claimed that often without a recorded outcome."""
    return bool((await tx.one(_SUSPECTS, suspicious))[0])


async def give_up(tx: Tx, strikes: int) -> int:
    """Park what was claimed that often without a recorded outcome; how many."""
    return await tx.run(_GIVE_UP, strikes)
