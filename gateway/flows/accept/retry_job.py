"""Retry: make a new job with the input of one that has ended; the acceptor stores it."""

from uuid import UUID

from gateway.core.model import TERMINAL, Job, NewJob
from gateway.errors import Conflict, NotFound
from gateway.flows.deps import Deps
from gateway.store.retention import prune
from gateway.store.retention.rules import PAYLOADS
from gateway.store.work import jobs


async def job_again(
    deps: Deps, tenant_id: UUID, job_id: UUID, *, idempotency_key: str | None = None
) -> NewJob:
    """A new job with the input of another one; nothing is stored yet.

    Raises NotFound, and Conflict while the other one is open, or once its input was pruned.
    """
    async with deps.db.of(tenant_id) as tx:
        job = await jobs.find(tx, tenant_id, job_id)
        pruned = await prune.cursor(tx, tenant_id, PAYLOADS) >= job_id
    if job is None:
        raise NotFound("There is no such job.")
    if job.state not in TERMINAL:
        raise Conflict("The job has not ended yet. Wait for its end, or delete it.")
    if pruned:
        raise Conflict(
            "The job's input is not kept any more, so it cannot be run again. Submit it anew."
        )
    return _like(job, deps.ids.uuid(), deps.policy.deadline, idempotency_key)


def _like(job: Job, new_id: UUID, deadline: float, idempotency_key: str | None) -> NewJob:
    until = job.deadline_at
    return NewJob(
        id=new_id,
        tenant_id=job.tenant_id,
        name=job.name,
        workflow=job.workflow,
        params=job.params,
        metadata=job.metadata,
        copy_results_to=job.copy_results_to,
        batch_name=job.batch_name,
        callback_url=job.callback_url,
        priority=job.priority,
        deadline_seconds=(until - job.created_at).total_seconds() if until else deadline,
        idempotency_key=idempotency_key,
        # A repeat of the key must be for a retry of the same job.
        request_hash=None if idempotency_key is None else b"retry" + job.id.bytes,
        retry_of=job.id,
    )
