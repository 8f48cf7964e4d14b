"""What may keep jobs from going on, read in one statement for all of them."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from gateway.core.model import JobState
from gateway.core.waits import Situation
from gateway.store.database import Tx
from gateway.store.processes import STALE_SECONDS

# One probe each for the tenant, its load, its credential and the last note. A job at the upstream is
# asked about with the credential that submitted it, or where that is rejected with a later one.
_SITUATIONS = """
SELECT j.id, j.state, now(), j.next_at, j.lease_token IS NOT NULL, t.suspended_at,
  load.in_flight, COALESCE(t.max_in_flight, $2::int), c.id IS NOT NULL, c.rejected_reason,
  c.rejected_at IS NOT NULL, COALESCE(c.failures, 0), c.paused_until, c.submit_room,
  w.last, w.alive,
  (SELECT n.detail FROM job_event n WHERE n.job_id = j.id
    AND n.type IN ('submit.postponed', 'submit.in_doubt') ORDER BY n.id DESC LIMIT 1)
FROM job j JOIN tenant t ON t.id = j.tenant_id
CROSS JOIN (SELECT max(seen_at) AS last, COALESCE(bool_or(stopped_at IS NULL
    AND seen_at > now() - $3::float8 * interval '1 second'), false) AS alive
  FROM process WHERE kind = 'worker') AS w
CROSS JOIN LATERAL (SELECT COALESCE(sum(l.in_flight), 0)::int AS in_flight FROM tenant_load l
  WHERE l.tenant_id = t.id) AS load
LEFT JOIN LATERAL (SELECT * FROM credential c WHERE c.tenant_id = t.id
  AND (j.state = 'accepted' OR c.id = j.credential_id OR c.rejected_at IS NULL)
  ORDER BY CASE WHEN j.state = 'accepted' OR c.rejected_at IS NOT NULL THEN 0
    WHEN c.id = j.credential_id THEN 1 ELSE 0 END DESC, c.version DESC LIMIT 1) AS c ON true
WHERE j.id = ANY($1::uuid[])
  AND j.state IN ('accepted', 'submitting', 'submitted', 'running')"""


async def situations(
    tx: Tx, job_ids: Sequence[UUID], *, in_flight: int
) -> Mapping[UUID, Situation]:
    """The situations of those of these jobs that have not ended; `in_flight` caps a tenant's."""
    rows = await tx.rows(_SITUATIONS, list(job_ids), in_flight, STALE_SECONDS)
    return {row[0]: Situation(JobState(row[1]), *row[2:]) for row in rows}
