"""Why jobs do not go on: everything that may hold them, read in one statement for all of them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from gateway.core.model import JobState
from gateway.core.waits_for import Situation
from gateway.store.conditions import OPEN_STATES
from gateway.store.database import AnyRow, Tx
from gateway.store.processes import STALE_SECONDS
from gateway.store.statement import Statement

# A job at the upstream is polled with the credential that submitted it, or with a later one if that
# credential is rejected.
_SITUATIONS = Statement(
    f"""
SELECT j.id, j.state, now() AS now, j.next_at, j.lease_token IS NOT NULL AS is_leased,
  t.suspended_at, load.in_flight, COALESCE(t.max_in_flight, :in_flight::int) AS most_in_flight,
  c.id IS NOT NULL AS has_credential, c.rejected_reason, c.rejected_at IS NOT NULL AS is_rejected,
  COALESCE(c.failures, 0) AS failures, c.paused_until, c.submit_room AS room,
  w.last AS worker_seen_at, w.alive AS has_worker,
  (SELECT n.detail FROM job_event n WHERE n.job_id = j.id AND n.type IN ('submit.postponed',
    'submit.in_doubt') ORDER BY n.id DESC LIMIT 1) AS last_note
FROM job j JOIN tenant t ON t.id = j.tenant_id
CROSS JOIN (SELECT max(seen_at) AS last, COALESCE(bool_or(stopped_at IS NULL
    AND seen_at > now() - :stale::float8 * interval '1 second'), false) AS alive
  FROM process WHERE kind = 'worker') AS w
CROSS JOIN LATERAL (SELECT COALESCE(sum(l.in_flight), 0)::int AS in_flight FROM tenant_load l
  WHERE l.tenant_id = t.id) AS load
LEFT JOIN LATERAL (SELECT * FROM credential c WHERE c.tenant_id = t.id
  AND (j.state = 'accepted' OR c.id = j.credential_id OR c.rejected_at IS NULL)
  ORDER BY CASE WHEN j.state = 'accepted' OR c.rejected_at IS NOT NULL THEN 0
    WHEN c.id = j.credential_id THEN 1 ELSE 0 END DESC, c.version DESC LIMIT 1) AS c ON true
WHERE j.id = ANY(:job_ids::uuid[]) AND j.state IN {OPEN_STATES}"""
)


async def situations(
    tx: Tx, job_ids: Sequence[UUID], *, in_flight: int
) -> Mapping[UUID, Situation]:
    """The situations of those of these jobs that have not ended.

    `in_flight` is the cap of a tenant that has none of its own. Costs one index probe each for the tenant,
    its load, its credential and the last note of a job.
    """
    rows = await _SITUATIONS.rows(
        tx, job_ids=list(job_ids), in_flight=in_flight, stale=STALE_SECONDS
    )
    return {row.id: _situation(row) for row in rows}


def _situation(row: AnyRow) -> Situation:
    values: dict[str, Any] = dict(row.items())
    values["state"] = JobState(row.state)
    del values["id"]
    return Situation(**values)
