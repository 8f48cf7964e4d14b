"""The statements of the sweep: find rows that are due and for which no wake-up came.

The sweep runs in one process at a time, which holds an advisory lock for the length of its transaction.
Counting costs one index probe for each tenant or lane with something due; what is counted row by row has a
limit. A crash in a sweep leaves nothing: the next one reads the same rows.
"""

from typing import NamedTuple
from uuid import UUID

from gateway.store.conditions import LATEST_CREDENTIAL, OPEN_STATES, UPSTREAM_STATES, is_served
from gateway.store.database import Tx
from gateway.store.statement import Query, Statement

LEADER = 7_203_115_490


class Late(NamedTuple):
    """How much is late: tenants, jobs in doubt, credentials and lanes; and whether anybody is at work.

    `submits_soon` and `deliveries_soon` are the seconds until work will be due for which there may be no
    wake-up.
    """

    accepted: int
    doubtful: int
    credentials: int
    deliveries: int
    submitting: bool
    delivering: bool
    submits_soon: list[int]
    deliveries_soon: list[int]


# Two skip scans, over the tenants with waiting jobs and over the lanes with pending deliveries.
_LATE = Query(
    f"""
WITH RECURSIVE waiting_tenant AS (
  (SELECT tenant_id FROM job WHERE state = 'accepted' ORDER BY tenant_id LIMIT 1)
  UNION ALL
  SELECT (SELECT j.tenant_id FROM job j WHERE j.state = 'accepted'
    AND j.tenant_id > w.tenant_id ORDER BY j.tenant_id LIMIT 1)
  FROM waiting_tenant w WHERE w.tenant_id IS NOT NULL
), lane AS (
  (SELECT lane, next_at FROM delivery WHERE state = 'pending' ORDER BY lane, next_at LIMIT 1)
  UNION ALL
  SELECT d.lane, d.next_at FROM lane CROSS JOIN LATERAL (
    SELECT o.lane, o.next_at FROM delivery o WHERE o.state = 'pending' AND o.lane > lane.lane
    ORDER BY o.lane, o.next_at LIMIT 1) AS d
), late AS (SELECT now() - :grace * interval '1 second' AS since)
SELECT
  (SELECT count(*) FROM waiting_tenant w JOIN tenant t ON t.id = w.tenant_id
    CROSS JOIN {LATEST_CREDENTIAL} AS c
    WHERE t.suspended_at IS NULL
      AND (c.paused_until IS NULL OR c.paused_until <= (SELECT since FROM late))
      -- Only the head of the queue tells: jobs further behind wait for those before them.
      AND EXISTS (SELECT 1 FROM late CROSS JOIN LATERAL (SELECT j.next_at FROM job j
          WHERE j.tenant_id = t.id AND j.state = 'accepted' ORDER BY j.priority DESC, j.id
          LIMIT 100) AS ahead WHERE ahead.next_at <= since)
      AND (SELECT COALESCE(sum(l.in_flight), 0) FROM tenant_load l WHERE l.tenant_id = t.id)
        < COALESCE(t.max_in_flight, :max_in_flight)
  ) AS accepted,
  (SELECT count(*) FROM (SELECT 1 FROM late, job j JOIN credential c ON c.id = j.credential_id
    WHERE j.state = 'submitting' AND j.next_at <= since
      AND (c.paused_until IS NULL OR c.paused_until <= since) LIMIT 1000) AS b) AS doubtful,
  (SELECT count(*) FROM (SELECT 1 FROM credential, late WHERE poll_at <= since
    AND (poll_lease_until IS NULL OR poll_lease_until <= since)
    AND (paused_until IS NULL OR paused_until <= since) LIMIT 1000) AS c) AS credentials,
  (SELECT count(*) FROM lane LEFT JOIN endpoint p ON p.id = lane.lane
    WHERE p.rate_limit IS NULL AND {is_served("p")}
      AND GREATEST(lane.next_at, p.paused_until) <= (SELECT since FROM late)) AS deliveries,
  EXISTS (SELECT 1 FROM job WHERE state = 'submitting' AND next_at > now()) AS submitting,
  -- A lease lapses within a minute and a half, so later deliveries cannot be under a lease.
  EXISTS (SELECT 1 FROM lane CROSS JOIN LATERAL (SELECT 1 FROM delivery d
    WHERE d.lane = lane.lane AND d.state = 'pending' AND d.next_at > now()
      AND d.next_at <= now() + interval '90 seconds' AND d.lease_token IS NOT NULL
    ORDER BY d.next_at LIMIT 1) AS sent) AS delivering,
  ARRAY(SELECT ceil(EXTRACT(epoch FROM at - now()))::int FROM (
      SELECT GREATEST(ahead.next_at, c.paused_until) AS at FROM waiting_tenant w
      JOIN tenant t ON t.id = w.tenant_id AND t.suspended_at IS NULL
      CROSS JOIN LATERAL (SELECT paused_until FROM credential c WHERE c.tenant_id = t.id
        ORDER BY c.version DESC LIMIT 1) AS c
      CROSS JOIN LATERAL (SELECT min(few.next_at) AS next_at FROM (SELECT j.next_at FROM job j
        WHERE j.tenant_id = t.id AND j.state = 'accepted' ORDER BY j.priority DESC, j.id
        LIMIT 20) AS few) AS ahead
      UNION ALL
      (SELECT GREATEST(j.next_at, c.paused_until) FROM job j JOIN credential c
        ON c.id = j.credential_id WHERE j.state = 'submitting' AND j.lease_token IS NULL
        AND j.next_at <= now() + :soon * interval '1 second' ORDER BY j.next_at DESC LIMIT 100)
    ) AS s WHERE at > now() AND at <= now() + :soon * interval '1 second' GROUP BY 1)
    AS submits_soon,
  ARRAY(SELECT ceil(GREATEST(EXTRACT(epoch FROM at - now()), 0))::int FROM (
      SELECT GREATEST(lane.next_at, p.paused_until) AS at FROM lane LEFT JOIN endpoint p
        ON p.id = lane.lane WHERE {is_served("p")}
    ) AS s, late WHERE at > since AND at <= now() + :soon * interval '1 second'
    GROUP BY 1) AS deliveries_soon""",
    Late,
)

_LEAD = Statement("SELECT pg_try_advisory_xact_lock(:leader) AS is_leader")

_PUT_AWAY = Statement(
    """
UPDATE delivery d SET state = CASE WHEN p.deleted_at IS NULL THEN 'parked' ELSE 'exhausted' END,
  lease_token = NULL, completed_at = now(),
  last_error = CASE WHEN p.deleted_at IS NULL THEN 'the endpoint is disabled'
    ELSE 'the endpoint was deleted' END
FROM endpoint p WHERE d.lane = p.id AND d.id IN (SELECT o.id FROM endpoint q
  JOIN delivery o ON o.lane = q.id AND o.state = 'pending' AND o.next_at <= now()
  WHERE q.disabled_at IS NOT NULL OR q.deleted_at IS NOT NULL LIMIT 1000)"""
)

_FORGOTTEN = Statement(
    f"""
UPDATE credential c SET poll_at = now()
WHERE c.poll_at IS NULL AND EXISTS (SELECT 1 FROM job j WHERE j.credential_id = c.id
  AND j.state IN {UPSTREAM_STATES})"""
)

_EXPIRED = Statement(
    f"""
SELECT id FROM job WHERE deadline_at <= now() AND state IN {OPEN_STATES}
  AND NOT (state = 'submitting' AND lease_token IS NOT NULL AND next_at > now())
ORDER BY deadline_at LIMIT :limit"""
)


async def lead(tx: Tx) -> bool:
    """Try to take the advisory lock of the sweep for the length of the transaction."""
    return bool((await _LEAD.one(tx, leader=LEADER)).is_leader)


async def late(tx: Tx, grace: float, max_in_flight: int, soon: float) -> Late:
    """Count what has been due for longer than `grace` seconds; tell what is due within `soon` seconds.

    Late is work that may go on at once and has been due for longer than a wake-up takes. Where nobody is
    at such work, a wake-up was lost; where somebody is, the work waits for its turn.
    """
    return await _LATE.one(tx, grace=grace, max_in_flight=max_in_flight, soon=soon)


async def remember(tx: Tx) -> int:
    """Have credentials polled that have jobs at the upstream and no time for a poll; returns how many.

    A crash between the commits of a submit and of its poll time leaves such a credential.
    """
    return await _FORGOTTEN.run(tx)


async def put_away(tx: Tx) -> None:
    """Park the due deliveries of disabled endpoints, and end those of deleted ones, 1,000 at a time.

    They were stored in the moment in which the endpoint was disabled or deleted, or were under a lease.
    """
    await _PUT_AWAY.run(tx)


async def expired(tx: Tx, limit: int) -> list[UUID]:
    """Open jobs past their deadline, the longest first; without those that are being submitted."""
    return [row.id for row in await _EXPIRED.rows(tx, limit=limit)]
