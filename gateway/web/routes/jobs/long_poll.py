"""Long poll: a request waits until its job has ended."""

from contextlib import suppress
from uuid import UUID

from gateway.core.model import TERMINAL, Job
from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.flows.read.jobs import find_job, find_owner, known_job
from gateway.flows.settle.watchers import Watchers
from gateway.web.asgi.etags import etag_of, names_tag
from gateway.web.asgi.request_context import Caller
from gateway.web.context import Context


async def owner_of(deps: Deps, caller: Caller, job_id: UUID) -> UUID:
    """The tenant whose job a caller means: its own, or that of the job, where it may read that one's.

    Raises NotFound.
    """
    if caller.tenant is not None:
        return caller.tenant.id
    return await find_owner(deps, job_id, caller.key.tenants)


async def awaited_job(
    context: Context,
    caller: Caller,
    tenant_id: UUID,
    job_id: UUID,
    seconds: float,
    *,
    known: str = "",
) -> Job:
    """The job once it has ended, or as it is when the time is up or the process stops.

    `known` is the If-None-Match of the caller; a version that it does not name is news enough.
    It takes 55 s at most, or what the settings say.
    Raises NotFound, and what refuses a caller whose key ends meanwhile.
    """
    deps, waiters = context.deps, context.waiters
    seconds = min(seconds, context.limits.max_wait_seconds)
    if seconds <= 0:
        return await find_job(deps, tenant_id, job_id)
    end = deps.clock.monotonic() + seconds
    async with context.admissions.within(caller):
        return await _awaited(deps, waiters, tenant_id, job_id, end, known)


async def _awaited(  # noqa: PLR0917 - what is waited for, and until when
    deps: Deps, waiters: Watchers, tenant_id: UUID, job_id: UUID, end: float, known: str
) -> Job:
    with waiters.watching(job_id) as watch:
        # Those who come all at once, as after a restart, share their first read as well.
        job = known_job(await waiters.reads.job(tenant_id, job_id))
        while job.state not in TERMINAL and (not known or names_tag(known, etag(job))):
            left = end - deps.clock.monotonic()
            if left <= 0 or deps.slots.closing:
                break
            await watch.changed(job.version, left)
            with suppress(Unavailable):  # it is told again, and what is known of it still holds
                job = known_job(await waiters.reads.job(tenant_id, job_id))
    return job


def etag(job: Job) -> str:
    """The version of a job as an entity tag."""
    return etag_of(job.version)
