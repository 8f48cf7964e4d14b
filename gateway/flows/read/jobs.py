"""Reads of jobs: one job of a tenant, and which tenant owns it."""

from collections.abc import Collection
from uuid import UUID

from gateway.core.model import Job
from gateway.errors import NotFound
from gateway.flows.deps import Deps
from gateway.store.retention import prune
from gateway.store.retention.rules import PAYLOADS
from gateway.store.work import jobs


async def find_job(deps: Deps, tenant_id: UUID, job_id: UUID) -> Job:
    """A job of a tenant; raises NotFound."""
    async with deps.db.of(tenant_id) as tx:
        return known_job(await jobs.find(tx, tenant_id, job_id))


async def is_input_kept(deps: Deps, tenant_id: UUID, job_id: UUID) -> bool:
    """Whether the input of a job was not pruned yet."""
    async with deps.db.of(tenant_id) as tx:
        return await prune.cursor(tx, tenant_id, PAYLOADS) < job_id


async def find_owner(deps: Deps, job_id: UUID, allowed: Collection[UUID] | None) -> UUID:
    """The tenant that owns a job, if it is one of those allowed (None: all); raises NotFound."""
    async with deps.db.single() as tx:
        tenant_id = await jobs.owner(tx, job_id)
    if tenant_id is None or (allowed is not None and tenant_id not in allowed):
        raise _missing()
    return tenant_id


def known_job(job: Job | None) -> Job:
    """A job that was found; raises NotFound for None."""
    if job is None:
        raise _missing()
    return job


def _missing() -> NotFound:
    return NotFound("There is no such job.")
