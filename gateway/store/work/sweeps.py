"""What the sweep looks for: rows that are due and that no wake-up came for."""

from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx

_LEADER = 7_203_115_490

# Late is what is due for longer than a wake-up may take and may go on at once. Where nobody is at
# such work at all, a wake-up was lost; where somebody is, it waits for its turn.
_LATE = """
WITH RECURSIVE lane AS (
  (SELECT tenant_id FROM job WHERE state = 'accepted' ORDER BY tenant_id LIMIT 1)
  UNION ALL
  SELECT (SELECT j.tenant_id FROM job j WHERE j.state = 'accepted'
    AND j.tenant_id > lane.tenant_id ORDER BY j.tenant_id LIMIT 1)
  FROM lane WHERE lane.tenant_id IS NOT NULL
), road AS (
  (SELECT lane, next_at FROM delivery WHERE state = 'pending' ORDER BY lane, next_at LIMIT 1)
  UNION ALL
  SELECT d.lane, d.next_at FROM road CROSS JOIN LATERAL (
    SELECT o.lane, o.next_at FROM delivery o WHERE o.state = 'pending' AND o.lane > road.lane
    ORDER BY o.lane, o.next_at LIMIT 1) AS d
), patience AS (SELECT now() - $1 * interval '1 second' AS since)
SELECT
  (SELECT count(*) FROM lane JOIN tenant t ON t.id = lane.tenant_id
    CROSS JOIN LATERAL (SELECT * FROM credential c WHERE c.tenant_id = t.id
      ORDER BY c.version DESC LIMIT 1) AS c
    WHERE t.suspended_at IS NULL
      AND (c.paused_until IS NULL OR c.paused_until <= (SELECT since FROM patience))
      -- Those that are next in the queue tell it: further behind, the ones before are waited for.
      AND EXISTS (SELECT 1 FROM patience CROSS JOIN LATERAL (SELECT j.next_at FROM job j
          WHERE j.tenant_id = t.id AND j.state = 'accepted' ORDER BY j.priority DESC, j.id
          LIMIT 100) AS ahead WHERE ahead.next_at <= since)
      AND (SELECT COALESCE(sum(l.in_flight), 0) FROM tenant_load l WHERE l.tenant_id = t.id)
        < COALESCE(t.max_in_flight, $2)
  ) AS accepted,
  (SELECT count(*) FROM (SELECT 1 FROM patience, job j JOIN credential c ON c.id = j.credential_id
    WHERE j.state = 'submitting' AND j.next_at <= since
      AND (c.paused_until IS NULL OR c.paused_until <= since) LIMIT 1000) AS b) AS doubtful,
  (SELECT count(*) FROM (SELECT 1 FROM credential, patience WHERE poll_at <= since
    AND (poll_lease_until IS NULL OR poll_lease_until <= since)
    AND (paused_until IS NULL OR paused_until <= since) LIMIT 1000) AS c) AS credentials,
  (SELECT count(*) FROM road LEFT JOIN endpoint p ON p.id = road.lane
    WHERE p.rate_limit IS NULL AND p.disabled_at IS NULL AND p.deleted_at IS NULL
      AND GREATEST(road.next_at, p.paused_until) <= (SELECT since FROM patience)) AS deliveries,
  EXISTS (SELECT 1 FROM job WHERE state = 'submitting' AND next_at > now()) AS submitting,
  -- A lease is over within a minute and a half; what is put off for longer is not looked at.
  EXISTS (SELECT 1 FROM road CROSS JOIN LATERAL (SELECT 1 FROM delivery d
    WHERE d.lane = road.lane AND d.state = 'pending' AND d.next_at > now()
      AND d.next_at <= now() + interval '90 seconds' AND d.lease_token IS NOT NULL
    ORDER BY d.next_at LIMIT 1) AS sent) AS delivering,
  ARRAY(SELECT ceil(EXTRACT(epoch FROM at - now()))::int FROM (
      SELECT GREATEST(ahead.next_at, c.paused_until) AS at FROM lane
      JOIN tenant t ON t.id = lane.tenant_id AND t.suspended_at IS NULL
      CROSS JOIN LATERAL (SELECT paused_until FROM credential c WHERE c.tenant_id = t.id
        ORDER BY c.version DESC LIMIT 1) AS c
      CROSS JOIN LATERAL (SELECT min(few.next_at) AS next_at FROM (SELECT j.next_at FROM job j
        WHERE j.tenant_id = t.id AND j.state = 'accepted' ORDER BY j.priority DESC, j.id
        LIMIT 20) AS few) AS ahead
      UNION ALL
      (SELECT GREATEST(j.next_at, c.paused_until) FROM job j JOIN credential c
        ON c.id = j.credential_id WHERE j.state = 'submitting' AND j.lease_token IS NULL
        AND j.next_at <= now() + $3 * interval '1 second' ORDER BY j.next_at DESC LIMIT 100)
    ) AS s WHERE at > now() AND at <= now() + $3 * interval '1 second' GROUP BY 1) AS submits_soon,
  ARRAY(SELECT ceil(GREATEST(EXTRACT(epoch FROM at - now()), 0))::int FROM (
      SELECT GREATEST(road.next_at, p.paused_until) AS at FROM road LEFT JOIN endpoint p
        ON p.id = road.lane WHERE p.disabled_at IS NULL AND p.deleted_at IS NULL
    ) AS s, patience WHERE at > since AND at <= now() + $3 * interval '1 second'
    GROUP BY 1) AS deliveries_soon"""

# An event that was stored in the moment in which its endpoint was disabled or deleted.
_PUT_AWAY = """
UPDATE delivery d SET state = CASE WHEN p.deleted_at IS NULL THEN 'parked' ELSE 'exhausted' END,
  lease_token = NULL, completed_at = now(),
  last_error = CASE WHEN p.deleted_at IS NULL THEN 'the endpoint is disabled'
    ELSE 'the endpoint was deleted' END
FROM endpoint p WHERE d.lane = p.id AND d.id IN (SELECT o.id FROM endpoint q
  JOIN delivery o ON o.lane = q.id AND o.state = 'pending' AND o.next_at <= now()
  WHERE q.disabled_at IS NOT NULL OR q.deleted_at IS NOT NULL LIMIT 1000)"""

# A credential with jobs at the upstream that nothing will poll: a crash between two commits.
_FORGOTTEN = """
UPDATE credential c SET poll_at = now()
WHERE c.poll_at IS NULL AND EXISTS (SELECT 1 FROM job j WHERE j.credential_id = c.id
  AND j.state IN ('submitted', 'running'))"""

_EXPIRED = """
SELECT id FROM job WHERE deadline_at <= now()
  AND state IN ('accepted', 'submitting', 'submitted', 'running')
  AND NOT (state = 'submitting' AND lease_token IS NOT NULL AND next_at > now())
ORDER BY deadline_at LIMIT $1"""


class Late(NamedTuple):
    """What is late: tenants, jobs in doubt, credentials and receivers, and who is at work.

    `submits_soon` and `deliveries_soon` tell in how many seconds some of those will be due, for which
    nobody may have asked to be woken.
    """

    accepted: int
    doubtful: int
    credentials: int
    deliveries: int
    submitting: bool
    delivering: bool
    submits_soon: list[int]
    deliveries_soon: list[int]


async def lead(tx: Tx) -> bool:
    """Become the one that sweeps, for the length of the transaction."""
    row = await tx.row("SELECT pg_try_advisory_xact_lock($1)", _LEADER)
    return bool(row and row[0])


async def late(tx: Tx, grace: float, max_in_flight: int, soon: float) -> Late:
    """Count what has been due for longer than `grace` seconds; tell what is within `soon` seconds."""
    row = await tx.one(_LATE, grace, max_in_flight, soon)
    return Late(*row)


async def remember(tx: Tx) -> int:
    """Have credentials polled again that were forgotten."""
    return await tx.run(_FORGOTTEN)


async def put_away(tx: Tx) -> None:
    """Park what disabled endpoints are owed, and end what deleted ones are."""
    await tx.run(_PUT_AWAY)


async def expired(tx: Tx, limit: int) -> list[UUID]:
    """Open jobs past their deadline."""
    return [row.id for row in await tx.rows(_EXPIRED, limit)]
