"""Delete a job: at once for its tenant, and at the upstream as soon as that can be reached.

Runs for `DELETE /job`, for bulk cancels, and in the sweep for what the upstream has not deleted yet. One
transaction ends the job as cancelled, publishes `job.deleted` and stores the pending deletion; a crash
after it leaves a row that the next sweep deletes at the upstream.
"""

from uuid import UUID

from gateway.core.events import JOB_DELETED
from gateway.core.lifecycle import cancelled
from gateway.core.model import TERMINAL
from gateway.errors import NotFound
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deps import Deps
from gateway.flows.settle.settlement import Settled, announce, ending, publish_jobs, settle
from gateway.flows.settle.watchers import announce_feed, announce_jobs
from gateway.flows.upstream.credential_access import open_access
from gateway.flows.upstream.find_by_marker import Lookup, SearchWindow
from gateway.ports import Absent, Access, Sealed, Trouble, Unknown
from gateway.store.tenancy import tenants
from gateway.store.work import jobs
from gateway.store.work.jobs import PendingDeletion

_BATCH = 20
_RETRY_SECONDS = 60.0
_SEARCH_SECONDS = 20.0
_UNFINISHED = Unknown(f"the upstream's list could not be searched within {_SEARCH_SECONDS:g} s")


async def delete_job(
    deps: Deps, tenant_id: UUID, job_id: UUID, *, unless_ended: bool = False
) -> bool:
    """Delete a job; one that is not submitted yet will never be. Raises NotFound.

    With `unless_ended` a job that has ended stays: then the answer is False.
    """
    marked = await _mark(deps, tenant_id, job_id, unless_ended=unless_ended)
    if marked is None:
        return False
    settled, upstream_id = marked
    deps.crash_point("delete.committed")
    announce(deps, settled)
    announce_jobs(deps, [job_id])
    announce_feed(deps, [tenant_id])
    if upstream_id is not None:
        await delete_upstream(deps)
    return True


@retry_on_deadlock
async def _mark(
    deps: Deps, tenant_id: UUID, job_id: UUID, *, unless_ended: bool
) -> tuple[Settled, str | None] | None:
    """End the job and store its pending deletion; None where it has ended and is to stay."""
    async with deps.db.of(tenant_id) as tx:
        job = await jobs.hold(tx, tenant_id, job_id)
        if job is None:
            raise NotFound("There is no such job.")
        if unless_ended and job.state in TERMINAL:
            return None
        if job.state in TERMINAL:
            # Its end has an event already; its deletion needs one, too.
            settled = Settled(deliveries=await publish_jobs(tx, deps, [(JOB_DELETED, job)]))
        else:
            settled = await settle(tx, deps, [ending(job_id, cancelled())], event_type=JOB_DELETED)
        _, upstream_id = await jobs.delete(tx, tenant_id, job_id, deps.policy.lease) or (None, None)
        deps.crash_point("delete.marked")
    return settled, upstream_id


async def delete_upstream(deps: Deps) -> int:
    """Delete jobs at the upstream, and return how many; failed ones stay due for a later try."""
    async with deps.db.single() as tx:
        pending = await jobs.claim_pending_deletions(tx, _BATCH, _RETRY_SECONDS)
    done = [job.id for job in pending if await _delete_one(deps, job)]
    if done:
        deps.crash_point("delete.told")
        async with deps.db.single() as tx:
            await jobs.forget_upstream(tx, done)
    return len(done)


async def _delete_one(deps: Deps, job: PendingDeletion) -> bool:
    async with deps.db.single() as tx:
        credential = await tenants.credential_by_id(tx, job.credential_id)
    if credential is None:
        return True
    access = open_access(deps, credential)
    if isinstance(access, Sealed):
        return False
    upstream_id = job.upstream_id or await _find(deps, access, job)
    if not isinstance(upstream_id, str):
        return upstream_id is None
    answer = await deps.upstream.delete(access, upstream_id)
    return answer is None or isinstance(answer, Absent)


async def _find(deps: Deps, access: Access, job: PendingDeletion) -> str | Trouble | None:
    """The upstream's id of a job that was deleted during its submit; None where it has none."""
    window = SearchWindow(job.sent_at, job.now)
    lookup = Lookup(deps, access, {str(job.id): 0}, window, began_at=job.now)
    trouble = await lookup.run(deps.clock.monotonic() + _SEARCH_SECONDS)
    if found := lookup.found.get(str(job.id)):
        return found.upstream_id
    return None if lookup.is_complete else trouble or _UNFINISHED
