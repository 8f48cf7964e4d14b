"""The beacon, and doubt about all that waits in a database that went back in time."""

from collections.abc import Sequence
from uuid import UUID

from gateway.store.database import Tx

# As if each had been submitted with an unknown outcome, at some time from its accept until now.
_DISTRUST = """
UPDATE job SET state = 'submitting', sent_at = job.created_at, sent_until = now(), next_at = now(),
  lookups = 0, lease_token = NULL, submit_attempts = GREATEST(job.submit_attempts, 1),
  credential_id = c.id, version = job.version + 1
FROM (SELECT DISTINCT ON (tenant_id) id, tenant_id FROM credential
  ORDER BY tenant_id, version DESC) AS c
WHERE job.id IN (SELECT j.id FROM job j WHERE j.state = 'accepted'
    AND EXISTS (SELECT 1 FROM credential k WHERE k.tenant_id = j.tenant_id) LIMIT 5000)
  AND c.tenant_id = job.tenant_id"""

_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# A horizon that is ahead is kept, until the epoch of the feed has been raised for it.
_BEAT = f"""
UPDATE beacon SET count = count + 1, swept_at = now(), horizon = GREATEST(horizon, {_HORIZON}),
  cluster = COALESCE(cluster, $1) RETURNING id, count"""
_MOVED = f"SELECT horizon > {_HORIZON} OR COALESCE(cluster <> $1::bigint, false) FROM beacon"

_DISTRUST_CLAIMED = """
UPDATE job SET sent_at = created_at, sent_until = now(), next_at = now(), lookups = 0,
  lease_token = NULL, strikes = strikes - 1, version = version + 1
WHERE id = ANY($1::uuid[]) AND state = 'submitting' AND lease_token = $2"""


async def beat(tx: Tx, cluster: int | None = None) -> tuple[UUID, int]:
    """Count the beacon up in a round of the sweep; its id and its number."""
    return tuple(await tx.one(_BEAT, cluster))


async def cluster_of(tx: Tx) -> int | None:
    """What tells this cluster from others; None where the login may not know."""
    may_read = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"
    if not (await tx.one(may_read))[0]:
        return None
    return (await tx.one("SELECT system_identifier FROM pg_control_system()"))[0]


async def has_moved(tx: Tx, cluster: int | None) -> bool:
    """Whether the beacon was counted up in another cluster before."""
    return (await tx.one(_MOVED, cluster))[0]


async def hold_beacon(tx: Tx) -> tuple[UUID, int]:
    """The beacon's id and number, which nobody else changes until the transaction ends."""
    return tuple(await tx.one("SELECT id, count FROM beacon FOR UPDATE"))


async def set_beacon(tx: Tx, count: int) -> None:
    """Set the beacon's number."""
    await tx.run("UPDATE beacon SET count = $1", count)


async def distrust(tx: Tx) -> int:
    """Have every waiting job looked up before it is submitted; how many."""
    total = 0
    while count := await tx.run(_DISTRUST):  # each statement has a time limit of its own
        total += count
    return total


async def distrust_claimed(tx: Tx, job_ids: Sequence[UUID], token: UUID) -> int:
    """Have jobs that were claimed, and not sent, looked up first as well; how many."""
    return await tx.run(_DISTRUST_CLAIMED, list(job_ids), token)
