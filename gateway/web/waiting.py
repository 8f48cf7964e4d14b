"""Answers that wait for a job."""

from uuid import UUID

from gateway.core.model import TERMINAL, Job
from gateway.errors import NotFound
from gateway.flows.deps import Deps
from gateway.store import jobs

_STEP_SECONDS = 0.25


async def find_job(deps: Deps, tenant_id: UUID, job_id: UUID) -> Job:
    """A job of a tenant; raises NotFound."""
    async with deps.db.single() as tx:
        job = await jobs.find(tx, tenant_id, job_id)
    if job is None:
        raise NotFound("There is no such job.")
    return job


async def awaited_job(
    deps: Deps, tenant_id: UUID, job_id: UUID, seconds: float, known: str = ""
) -> Job:
    """The job once it has ended, or as it is when the time is up or the process stops.

    `known` is the ETag that the caller has; any other version is news enough. Raises NotFound.
    """
    end = deps.clock.monotonic() + seconds
    while True:
        job = await find_job(deps, tenant_id, job_id)
        if job.state in TERMINAL or (known and known != etag(job)):
            return job
        left = end - deps.clock.monotonic()
        if left <= 0 or deps.slots.closing:
            return job
        await deps.clock.sleep(min(left, _STEP_SECONDS))


def etag(job: Job) -> str:
    """The version of a job as an entity tag."""
    return f'"{job.version}"'
