"""The restore detector: the row `beacon`, and doubt about all jobs of a database that went back in time.

The sweep counts the beacon up, and keeps the number outside of the database as well. A number that is lower
than the kept one says that the database was restored from a backup. Jobs that wait there may have been
submitted after the backup, so each is put in doubt: it is looked up at the upstream before it is submitted.
"""

from collections.abc import Sequence
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Statement

# As if each job had been submitted with an unknown outcome, at some time between its accept and now.
_DISTRUST = Statement(
    """
UPDATE job SET state = 'submitting', sent_at = job.created_at, sent_until = now(), next_at = now(),
  lookups = 0, lease_token = NULL, submit_attempts = GREATEST(job.submit_attempts, 1),
  credential_id = c.id, version = job.version + 1
FROM (SELECT DISTINCT ON (tenant_id) id, tenant_id FROM credential
  ORDER BY tenant_id, version DESC) AS c
WHERE job.id IN (SELECT j.id FROM job j WHERE j.state = 'accepted'
    AND EXISTS (SELECT 1 FROM credential k WHERE k.tenant_id = j.tenant_id) LIMIT 5000)
  AND c.tenant_id = job.tenant_id"""
)

_DISTRUST_CLAIMED = Statement(
    """
UPDATE job SET sent_at = created_at, sent_until = now(), next_at = now(), lookups = 0,
  lease_token = NULL, strikes = strikes - 1, version = version + 1
WHERE id = ANY(:job_ids::uuid[]) AND state = 'submitting' AND lease_token = :token"""
)

_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# The horizon of another cluster, or one that is ahead, is kept until the epoch of the feed has been raised for
# it: events that this cluster has stored since are found by it.
_BEAT = Statement(
    f"""
UPDATE beacon SET count = count + 1, swept_at = now(),
  horizon = CASE WHEN cluster <> :cluster::bigint THEN horizon ELSE GREATEST(horizon, {_HORIZON}) END,
  cluster = COALESCE(cluster, :cluster) RETURNING id, count"""
)
_MOVED = Statement(
    f"""
SELECT horizon > {_HORIZON} OR COALESCE(cluster <> :cluster::bigint, false) AS has_moved FROM beacon"""
)
_HOLD = Statement("SELECT id, count FROM beacon FOR UPDATE")
_SET = Statement("UPDATE beacon SET count = :count")
_MAY_READ_CLUSTER = Statement(
    "SELECT has_function_privilege('pg_control_system()', 'EXECUTE') AS may_read"
)
_CLUSTER = Statement("SELECT system_identifier FROM pg_control_system()")


async def beat(tx: Tx, cluster: int | None = None) -> tuple[UUID, int]:
    """Count the beacon up by one in a round of the sweep; returns its id and its number."""
    row = await _BEAT.one(tx, cluster=cluster)
    return row.id, row.count


async def cluster_of(tx: Tx) -> int | None:
    """The identifier of this Postgres cluster; None where the login may not read it."""
    if not (await _MAY_READ_CLUSTER.one(tx)).may_read:
        return None
    return (await _CLUSTER.one(tx)).system_identifier


async def has_moved(tx: Tx, cluster: int | None) -> bool:
    """Whether the beacon was counted up in another cluster before."""
    return (await _MOVED.one(tx, cluster=cluster)).has_moved


async def hold_beacon(tx: Tx) -> tuple[UUID, int]:
    """The beacon's id and number; locks the row until the transaction ends."""
    row = await _HOLD.one(tx)
    return row.id, row.count


async def set_beacon(tx: Tx, count: int) -> None:
    """Set the beacon's number."""
    await _SET.run(tx, count=count)


async def distrust(tx: Tx) -> int:
    """Put every waiting job in doubt, 5,000 a statement; returns how many.

    Each statement has its own time limit. A job is then looked up before it is submitted.
    """
    total = 0
    while count := await _DISTRUST.run(tx):
        total += count
    return total


async def distrust_claimed(tx: Tx, job_ids: Sequence[UUID], token: UUID) -> int:
    """Put jobs in doubt that were claimed with this fencing token and not sent; returns how many."""
    return await _DISTRUST_CLAIMED.run(tx, job_ids=list(job_ids), token=token)
