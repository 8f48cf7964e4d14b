"""The state of each queue: how much may go now, since when, and how much is held back and why.

Read at each scrape of the metrics and for `GET /admin/v1/queue`. A queue is counted by its index entries up
to a limit, or by counters that triggers keep, so no statement takes longer the more rows there are.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gateway.store.conditions import LATEST_CREDENTIAL
from gateway.store.database import Tx
from gateway.store.statement import Query, Statement

# Rows are counted one by one up to this number; those of one lane up to a fifth of it.
MOST: Final = 5_000
# With so many failures in a row the claim gives a lane two places only.
_FAILING = 5
# A webhook that was claimed so many seconds ago is being sent: without a turn it was given back before.
_LONG = 3.0
_REJECTED = "WHEN c.rejected_at IS NOT NULL THEN 'credential_rejected'"
# A credential that no master key opens is paused without a failure.
_PAUSED = """WHEN c.paused_until > now() AND c.failures = 0 THEN 'credential_sealed'
    WHEN c.paused_until > now() AND c.failures >= :breaker THEN 'circuit_open'
    WHEN c.paused_until > now() THEN 'upstream_busy'"""
_SECONDS = "EXTRACT(epoch FROM now() - {since})::float8"


class QueueLine(NamedTuple):
    """Rows of a queue, of `tenants` tenants where that is known, and seconds since the oldest was due.

    They may go now where there is no reason.
    """

    queue: str
    reason: str | None
    rows: int
    seconds: float
    tenants: int


# A skip scan: one probe for each tenant and priority with something waiting. A tenant at its cap is just
# below it whenever one of its jobs has ended, so nine tenths count as the cap.
_ACCEPTED = Query(
    f"""
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
), waiting AS (
  SELECT place.tenant_id, min(first.since) AS since FROM place CROSS JOIN LATERAL (
    SELECT min(few.next_at) AS since FROM (SELECT next_at FROM job j WHERE j.state = 'accepted'
      AND j.tenant_id = place.tenant_id AND j.priority = place.priority ORDER BY j.id LIMIT 20) AS few
    WHERE few.next_at <= now()) AS first
  GROUP BY place.tenant_id
), held AS (
  SELECT load.waiting, GREATEST(waiting.since, c.paused_until) AS since,
    CASE WHEN t.suspended_at IS NOT NULL THEN 'suspended'
    WHEN c.id IS NULL THEN 'no_credential' {_REJECTED} {_PAUSED}
    WHEN load.in_flight >= m.most - m.most / 10 THEN 'in_flight_cap'
    WHEN c.submit_room IS NOT NULL THEN 'upstream_busy'
    WHEN waiting.since IS NULL THEN 'retry' END AS reason
  FROM waiting JOIN tenant t ON t.id = waiting.tenant_id
  CROSS JOIN LATERAL (SELECT COALESCE(t.max_in_flight, :in_flight::int) AS most) AS m
  CROSS JOIN LATERAL (SELECT COALESCE(sum(l.waiting), 0) AS waiting,
    COALESCE(sum(l.in_flight), 0) AS in_flight FROM tenant_load l WHERE l.tenant_id = t.id) AS load
  LEFT JOIN {LATEST_CREDENTIAL} AS c ON true
)
SELECT 'accepted' AS queue, reason, sum(waiting)::bigint AS rows,
  max({_SECONDS.format(since="since")}) AS seconds, count(*) AS tenants
FROM held GROUP BY reason""",
    QueueLine,
)

_IN_DOUBT = Query(
    f"""
SELECT 'submitting' AS queue, reason, count(*) AS rows,
  max({_SECONDS.format(since="since")}) AS seconds, 0 AS tenants FROM (
  SELECT GREATEST(j.next_at, c.paused_until) AS since,
    CASE {_PAUSED} END AS reason
  FROM (SELECT next_at, credential_id FROM job WHERE state = 'submitting' AND next_at <= now()
    ORDER BY next_at LIMIT {MOST // 5}) AS j JOIN credential c ON c.id = j.credential_id) AS held
GROUP BY reason""",
    QueueLine,
)

_POLLS = Query(
    f"""
SELECT 'poll' AS queue, reason, count(*) AS rows, max({_SECONDS.format(since="since")}) AS seconds,
  0 AS tenants FROM (
  SELECT GREATEST(c.poll_at, c.paused_until) AS since, CASE {_REJECTED} {_PAUSED} END AS reason
  FROM credential c WHERE c.poll_at IS NOT NULL AND (c.paused_until > now()
    OR c.poll_at <= now() AND (c.poll_lease_until IS NULL OR c.poll_lease_until <= now()))) AS held
GROUP BY reason""",
    QueueLine,
)

# A skip scan over the lanes with a pending delivery. A lane is `busy` if the worker waits for its
# receiver: the window is full, or something is under way that takes long, or follows a failure. The
# window itself is known to the worker only, which makes it smaller with each failure.
_DELIVERIES = Query(
    f"""
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
    WHEN (SELECT count(few.lease_token) >= :window::int OR count(few.lease_token) > 0
        AND (bool_or(few.lease_token IS NULL AND few.attempts > 0)
          OR min(few.next_at) FILTER (WHERE few.lease_token IS NOT NULL)
            < now() + (:lease::float8 - {_LONG}) * interval '1 second')
      FROM (SELECT lease_token, next_at, attempts FROM delivery b
        WHERE b.lane = lane.lane AND b.state = 'pending' AND b.next_at > now()
        ORDER BY b.next_at LIMIT {MOST // 50}) AS few) THEN 'busy' END AS reason
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
SELECT 'deliver' AS queue, reason, count(*) AS rows,
  max({_SECONDS.format(since="since")}) AS seconds, 0 AS tenants
FROM counted GROUP BY reason""",
    QueueLine,
)

_BULK = Query(
    f"""
SELECT 'bulk' AS queue, NULL AS reason, count(*) AS rows,
  {_SECONDS.format(since="min(next_at)")} AS seconds, 0 AS tenants
FROM bulk WHERE state = 'running' AND next_at <= now()""",
    QueueLine,
)

_STATES = Statement(
    f"""
SELECT COALESCE(sum(waiting), 0)::bigint AS waiting,
  COALESCE(sum(in_flight), 0)::bigint AS in_flight,
  (SELECT count(*) FROM (SELECT 1 FROM job WHERE state = 'submitting' ORDER BY next_at
    LIMIT {MOST}) AS s) AS submitting,
  (SELECT count(*) FROM (SELECT 1 FROM job WHERE state = 'submitted' AND deleted_at IS NULL
    ORDER BY id LIMIT {MOST}) AS s) AS submitted,
  (SELECT count(*) FROM (SELECT 1 FROM job WHERE state = 'running' AND deleted_at IS NULL
    ORDER BY id LIMIT {MOST}) AS s) AS running
FROM tenant_load"""
)

# The reasons for which rows may not go now, by queue.
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


async def lines(
    tx: Tx, *, breaker: int, in_flight: int, window: int, lease: float
) -> list[QueueLine]:
    """For each queue, how much may go now, and how much is held back for each reason."""
    found = [
        *await _ACCEPTED.rows(tx, breaker=breaker, in_flight=in_flight),
        *await _IN_DOUBT.rows(tx, breaker=breaker),
        *await _POLLS.rows(tx, breaker=breaker),
        *await _DELIVERIES.rows(tx, window=window, lease=lease),
        *await _BULK.rows(tx),
    ]
    return [line._replace(seconds=max(line.seconds or 0.0, 0.0)) for line in found if line.rows]


async def states(tx: Tx) -> dict[str, int]:
    """Open jobs by state; an estimate where more than MOST are submitted and more than MOST are running."""
    row = await _STATES.one(tx)
    submitted, running = row.submitted, row.running
    if running < MOST:
        submitted = max(row.in_flight - row.submitting - running, 0)
    else:
        running = max(row.in_flight - row.submitting - submitted, running)
    return {
        "accepted": max(row.waiting, 0),
        "submitting": row.submitting,
        "submitted": submitted,
        "running": running,
    }
