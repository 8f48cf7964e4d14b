"""Strikes: how often the handling of a job that is at the upstream broke down."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from gateway.store.database import Tx

_AT_UPSTREAM = "state IN ('submitted', 'running')"
_STRUCK = "SELECT id FROM job WHERE id = ANY($1::uuid[]) AND strikes > 0"
_STRIKE = f"""
UPDATE job SET strikes = strikes + 1 WHERE id = ANY($1::uuid[]) AND {_AT_UPSTREAM}
RETURNING id, strikes"""
_SPARE = f"UPDATE job SET strikes = 0 WHERE id = ANY($1::uuid[]) AND strikes > 0 AND {_AT_UPSTREAM}"


async def strike(tx: Tx, job_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """Count that the handling of jobs broke down, or will have if nobody spares them; how often by now."""
    return dict(tuple(row) for row in await tx.rows(_STRIKE, list(job_ids)))


async def spare(tx: Tx, job_ids: Sequence[UUID]) -> None:
    """Forget the strikes of jobs: they were handled."""
    await tx.run(_SPARE, list(job_ids))


async def struck(tx: Tx, job_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Those of these jobs that have a strike."""
    return frozenset(row[0] for row in await tx.rows(_STRUCK, list(job_ids)))
