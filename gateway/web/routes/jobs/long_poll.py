"""Long poll: a request waits until its job has ended or has changed."""

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
    """The tenant of a job: the caller's own, or the owner of the job if the caller may read it.

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

    `known` is the caller's If-None-Match: a version that it does not name is returned at once.
    The wait is 55 s at most, or what the settings say. Raises NotFound, and the refusal of a
    caller that loses access during the wait.
    """
    deps, waiters = context.deps, context.watchers
    seconds = min(seconds, context.limits.max_wait_seconds)
    if seconds <= 0:
        return await find_job(deps, tenant_id, job_id)
    end = deps.clock.monotonic() + seconds
    async with context.long_requests.within(caller):
        return await _awaited(deps, waiters, tenant_id, job_id, end, known)


async def _awaited(  # noqa: PLR0917 - the job, the end of the wait, the known version
    deps: Deps, waiters: Watchers, tenant_id: UUID, job_id: UUID, end: float, known: str
) -> Job:
    with waiters.watching(job_id) as watch:
        # Requests that come at the same time, as after a restart, share their first read too.
        job = known_job(await waiters.reads.job(tenant_id, job_id))
        while job.state not in TERMINAL and (not known or names_tag(known, etag(job))):
            left = end - deps.clock.monotonic()
            if left <= 0 or deps.slots.closing:
                break
            await watch.changed(job.version, left)
            with suppress(
                Unavailable
            ):  # the next change is announced as well; until then the last state holds
                job = known_job(await waiters.reads.job(tenant_id, job_id))
    return job


def etag(job: Job) -> str:
    """The version of a job as an entity tag."""
    return etag_of(job.version)
