"""What waits in each queue: how much may go now, since when, and what is held back and why.

A queue is counted by its index entries up to a limit, or by counters that triggers keep, so that no
statement takes longer the more there is.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gateway.store.database import Tx

# What is counted row by row is counted up to this; of one receiver up to a fifth of it.
MOST: Final = 5_000
# Failures in a row with which a receiver is sent next to nothing: see the claim.
_FAILING = 5
# The newest version of a tenant's credential.
_NEWEST = """LATERAL (SELECT * FROM credential c WHERE c.tenant_id = t.id
    ORDER BY c.version DESC LIMIT 1)"""
_REJECTED = "WHEN c.rejected_at IS NOT NULL THEN 'credential_rejected'"
# No failure is counted where no master key opens a credential.
_PAUSED = """WHEN c.paused_until > now() AND c.failures = 0 THEN 'credential_sealed'
    WHEN c.paused_until > now() AND c.failures >= $1 THEN 'circuit_open'
    WHEN c.paused_until > now() THEN 'upstream_busy'"""
_SECONDS = "EXTRACT(epoch FROM now() - {since})::float8"

# One probe for each tenant and priority with something waiting. A tenant at its cap stays just below
# it whenever a job of it has ended.
_ACCEPTED = f"""
WITH RECURSIVE place AS (
  (SELECT tenant_id, priority FROM job WHERE state = 'accepted'
    ORDER BY tenant_id, priority DESC LIMIT 1)
  UNION ALL
  SELECT next.tenant_id, next.priority FROM place CROSS JOIN LATERAL (
    (SELECT tenant_id, priority, 0 AS turn FROM job WHERE state = 'accepted'
      AND tenant_id = place.tenant_id AND priority < place.priority ORDER BY priority DESC LIMIT 1)
    UNION ALL
    (SELECT tenant_id, priority, 1 FROM job WHERE state = 'accepted'
      AND tenant_id > place.tenant_id ORDER BY tenant_id, priority DESC LIMIT 1)
    ORDER BY turn LIMIT 1) AS next
), lane AS (
  SELECT place.tenant_id, min(first.since) AS since FROM place CROSS JOIN LATERAL (
    SELECT min(few.next_at) AS since FROM (SELECT next_at FROM job j WHERE j.state = 'accepted'
      AND j.tenant_id = place.tenant_id AND j.priority = place.priority ORDER BY j.id LIMIT 20) AS few
    WHERE few.next_at <= now()) AS first
  GROUP BY place.tenant_id
), held AS (
  SELECT load.waiting, GREATEST(lane.since, c.paused_until) AS since,
    CASE WHEN t.suspended_at IS NOT NULL THEN 'suspended'
    WHEN c.id IS NULL THEN 'no_credential' {_REJECTED} {_PAUSED}
    WHEN load.in_flight >= m.most - m.most / 10 THEN 'in_flight_cap'
    WHEN c.submit_room IS NOT NULL THEN 'upstream_busy'
    WHEN lane.since IS NULL THEN 'retry' END AS reason
  FROM lane JOIN tenant t ON t.id = lane.tenant_id
  CROSS JOIN LATERAL (SELECT COALESCE(t.max_in_flight, $2::int) AS most) AS m
  CROSS JOIN LATERAL (SELECT COALESCE(sum(l.waiting), 0) AS waiting,
    COALESCE(sum(l.in_flight), 0) AS in_flight FROM tenant_load l WHERE l.tenant_id = t.id) AS load
  LEFT JOIN {_NEWEST} AS c ON true
)
SELECT 'accepted', reason, sum(waiting)::bigint, max({_SECONDS.format(since="since")}), count(*)
FROM held GROUP BY reason"""

_IN_DOUBT = f"""
SELECT 'submitting', reason, count(*), max({_SECONDS.format(since="since")}), 0 FROM (
  SELECT GREATEST(j.next_at, c.paused_until) AS since,
    CASE {_PAUSED} END AS reason
  FROM (SELECT next_at, credential_id FROM job WHERE state = 'submitting' AND next_at <= now()
    ORDER BY next_at LIMIT {MOST // 5}) AS j JOIN credential c ON c.id = j.credential_id) AS held
GROUP BY reason"""

_POLLS = f"""
SELECT 'poll', reason, count(*), max({_SECONDS.format(since="since")}), 0 FROM (
  SELECT GREATEST(c.poll_at, c.paused_until) AS since, CASE {_REJECTED} {_PAUSED} END AS reason
  FROM credential c WHERE c.poll_at IS NOT NULL AND (c.paused_until > now()
    OR c.poll_at <= now() AND (c.poll_lease_until IS NULL OR c.poll_lease_until <= now()))) AS held
GROUP BY reason"""

# Walks the receivers that are owed something. One with a full window is waited for.
_DELIVERIES = f"""
WITH RECURSIVE lane AS (
  (SELECT lane, next_at FROM delivery WHERE state = 'pending' ORDER BY lane, next_at LIMIT 1)
  UNION ALL
  SELECT d.lane, d.next_at FROM lane CROSS JOIN LATERAL (
    SELECT o.lane, o.next_at FROM delivery o WHERE o.state = 'pending' AND o.lane > lane.lane
    ORDER BY o.lane, o.next_at LIMIT 1) AS d
), road AS MATERIALIZED (
  SELECT lane.lane, GREATEST(lane.next_at, p.paused_until) AS since,
    CASE WHEN p.disabled_at IS NOT NULL OR p.deleted_at IS NOT NULL THEN 'disabled'
    WHEN p.paused_until > now() THEN 'resting'
    WHEN p.failures >= {_FAILING} THEN 'failing'
    WHEN p.rate_limit IS NOT NULL OR p.concurrency IS NOT NULL THEN 'limited'
    WHEN (SELECT count(few.lease_token) FROM (SELECT lease_token FROM delivery b
      WHERE b.lane = lane.lane AND b.state = 'pending' AND b.next_at > now()
      ORDER BY b.next_at LIMIT {MOST // 50}) AS few) >= $1::int THEN 'busy' END AS reason
  FROM lane LEFT JOIN endpoint p ON p.id = lane.lane
), counted AS (
  SELECT road.since, CASE WHEN d.later THEN 'retry' ELSE road.reason END AS reason
  FROM road CROSS JOIN LATERAL (
    (SELECT false AS later FROM delivery WHERE state = 'pending' AND lane = road.lane
      AND next_at <= now() ORDER BY next_at LIMIT {MOST // 5})
    UNION ALL
    (SELECT true FROM delivery WHERE state = 'pending' AND lane = road.lane AND next_at > now()
      ORDER BY next_at LIMIT {MOST // 5})) AS d
  WHERE road.reason IS DISTINCT FROM 'disabled' LIMIT {4 * MOST}
)
SELECT 'deliver', reason, count(*), max({_SECONDS.format(since="since")}), 0
FROM counted GROUP BY reason"""

_BULK = f"""
SELECT 'bulk', NULL, count(*), {_SECONDS.format(since="min(next_at)")}, 0
FROM bulk WHERE state = 'running' AND next_at <= now()"""

_STATES = f"""
SELECT COALESCE(sum(waiting), 0)::bigint, COALESCE(sum(in_flight), 0)::bigint,
  (SELECT count(*) FROM (SELECT 1 FROM job WHERE state = 'submitting' ORDER BY next_at
    LIMIT {MOST}) AS s),
  (SELECT count(*) FROM (SELECT 1 FROM job WHERE state = 'submitted' AND deleted_at IS NULL
    ORDER BY id LIMIT {MOST}) AS s),
  (SELECT count(*) FROM (SELECT 1 FROM job WHERE state = 'running' AND deleted_at IS NULL
    ORDER BY id LIMIT {MOST}) AS s)
FROM tenant_load"""

# Why rows may not go now, by queue.
REASONS: Final[Mapping[str, Sequence[str]]] = {
    "accepted": (
        *("suspended", "no_credential", "credential_rejected", "credential_sealed"),
        *("circuit_open", "upstream_busy", "in_flight_cap", "retry"),
    ),
    "submitting": ("credential_sealed", "circuit_open", "upstream_busy"),
    "poll": ("credential_rejected", "credential_sealed", "circuit_open", "upstream_busy"),
    "deliver": ("resting", "failing", "limited", "busy", "retry"),
    "bulk": (),
}


class QueueLine(NamedTuple):
    """Rows of a queue, of `tenants` tenants where that is known, and seconds since the oldest was due.

    They may go now where there is no reason.
    """

    queue: str
    reason: str | None
    rows: int
    seconds: float
    tenants: int


async def lines(tx: Tx, *, breaker: int, in_flight: int, window: int) -> list[QueueLine]:
    """What waits, of each queue that which may go now and that which is held back."""
    found = [
        *await tx.rows(_ACCEPTED, breaker, in_flight),
        *await tx.rows(_IN_DOUBT, breaker),
        *await tx.rows(_POLLS, breaker),
        *await tx.rows(_DELIVERIES, window),
        *await tx.rows(_BULK),
    ]
    return [
        QueueLine(queue, reason, rows, max(seconds or 0.0, 0.0), tenants)
        for queue, reason, rows, seconds, tenants in found
        if rows
    ]


async def states(tx: Tx) -> dict[str, int]:
    """Open jobs by state; roughly where more than MOST are both submitted and running."""
    waiting, in_flight, submitting, submitted, running = await tx.one(_STATES)
    if running < MOST:
        submitted = max(in_flight - submitting - running, 0)
    else:
        running = max(in_flight - submitting - submitted, running)
    return {
        "accepted": max(waiting, 0),
        "submitting": submitting,
        "submitted": submitted,
        "running": running,
    }
