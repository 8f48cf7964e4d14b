"""Batched reads: reads of many woken long polls share one query (group commit for reads).

One announcement wakes every long poll of a tenant at once; a query each would exhaust the connections.
"""

from dataclasses import replace
from uuid import UUID

from gateway.core.model import Job
from gateway.core.waits_for import Situation, Wait, wait_of
from gateway.flows.deps import Deps
from gateway.flows.process.group_commit import GroupCommit
from gateway.store.work import jobs, wait_reasons

_BATCH = 200
# Connections for each kind of query; reads that arrive meanwhile go into the next one.
_AT_ONCE = 2
# As many as a process can have callers, so no read is turned away.
_MOST = 100_000


class BatchedReads:
    """The batched reads of one process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._jobs = GroupCommit(self._find, batch=_BATCH, writers=_AT_ONCE, waiting=_MOST)
        self._situations = GroupCommit(self._look, batch=_BATCH, writers=_AT_ONCE, waiting=_MOST)
        self._places = GroupCommit(self._count, batch=_BATCH, writers=_AT_ONCE, waiting=_MOST)

    async def job(self, tenant_id: UUID, job_id: UUID) -> Job | None:
        """A job of a tenant that was not deleted; raises Unavailable."""
        return await self._jobs.add((tenant_id, job_id))

    async def ahead(self, job: Job) -> int:
        """How many jobs will be submitted before this one, up to 10,000; raises Unavailable."""
        return await self._places.add(job)

    async def wait(self, job: Job, place: int | None) -> Wait | None:
        """What an open job waits for, with so many jobs before it; raises Unavailable."""
        found = await self._situations.add(job.id)
        if found is None:
            return None
        breaker = self._deps.policy.breaker_failures
        return wait_of(replace(found, place=place), breaker=breaker)

    async def _look(self, job_ids: list[UUID]) -> list[Situation | None]:
        # The role of tenants may not read all of this; the caller may see these jobs.
        async with self._deps.db.single() as tx:
            found = await wait_reasons.situations(
                tx, job_ids, in_flight=self._deps.policy.max_in_flight
            )
        return [found.get(job_id) for job_id in job_ids]

    async def _find(self, wanted: list[tuple[UUID, UUID]]) -> list[Job | None]:
        async with self._deps.db.of(*{tenant_id for tenant_id, _ in wanted}) as tx:
            found = await jobs.find_all(tx, [job_id for _, job_id in wanted])
        # The query is for several tenants; each gets only its own jobs.
        owned = {(job.tenant_id, job.id): job for job in found}
        return [owned.get(one) for one in wanted]

    async def _count(self, waiting: list[Job]) -> list[int]:
        async with self._deps.db.of(*{job.tenant_id for job in waiting}) as tx:
            places = await jobs.ahead(tx, waiting)
        return [places.get(job.id, 0) for job in waiting]
