"""Strikes of jobs at the upstream: how often in a row the handling of a job broke down.

The poll flow counts a strike before it handles a job that is suspected, and clears it afterwards. A crash
in between leaves the strike. Enough strikes put the job in quarantine.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from gateway.store.conditions import UPSTREAM_STATES
from gateway.store.database import Tx
from gateway.store.statement import Statement

_STRUCK = Statement("SELECT id FROM job WHERE id = ANY(:job_ids::uuid[]) AND strikes > 0")
_STRIKE = Statement(
    f"""
UPDATE job SET strikes = strikes + 1
WHERE id = ANY(:job_ids::uuid[]) AND state IN {UPSTREAM_STATES} RETURNING id, strikes"""
)
_CLEAR = Statement(
    f"""
UPDATE job SET strikes = 0
WHERE id = ANY(:job_ids::uuid[]) AND strikes > 0 AND state IN {UPSTREAM_STATES}"""
)


async def strike(tx: Tx, job_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """Add a strike to jobs at the upstream; returns how many each of them has now."""
    return {row.id: row.strikes for row in await _STRIKE.rows(tx, job_ids=list(job_ids))}


async def spare(tx: Tx, job_ids: Sequence[UUID]) -> None:
    """Clear the strikes of jobs at the upstream that were handled."""
    await _CLEAR.run(tx, job_ids=list(job_ids))


async def struck(tx: Tx, job_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Those of these jobs that have a strike."""
    return frozenset(row.id for row in await _STRUCK.rows(tx, job_ids=list(job_ids)))
