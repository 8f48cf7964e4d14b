"""Bulk operations on jobs: cancel open jobs, retry failed ones, or send their webhooks again.

A caller starts one with a filter; workers do it batch by batch (bulk/deliveries.py `step`). Each job
is a transaction of its own. A crash repeats a batch and changes nothing twice: a cancelled job is not
cancelled again, and a retry has an idempotency key made of the operation and the job.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import msgspec

from gateway.core.model import TERMINAL, JobState
from gateway.errors import BadRequest, Conflict, NotFound, QueueFull
from gateway.flows.accept.acceptor import Acceptor, Order
from gateway.flows.accept.retry_job import job_again
from gateway.flows.bulk.start import DryRun, begin, require_room
from gateway.flows.deps import Deps
from gateway.flows.upstream.delete_job import delete_job
from gateway.store.database import Tx
from gateway.store.job_search import search
from gateway.store.job_search.filter import JobFilter
from gateway.store.tenancy import tenants
from gateway.store.webhooks import replays
from gateway.store.work.bulk_operations import Operation, Progress

CANCEL, RETRY, RESEND = "cancel-jobs", "retry-jobs", "resend-webhooks"
KINDS = frozenset({CANCEL, RETRY})
_OPEN = tuple(state.value for state in JobState if state not in TERMINAL)
_FAILED = (JobState.FAILED.value, JobState.EXPIRED.value)
_ENDED = frozenset(state.value for state in TERMINAL)


async def cancel_jobs(
    deps: Deps,
    tenant_id: UUID,
    wanted: JobFilter,
    *,
    dry_run: bool = False,
    once: UUID | None = None,
) -> Operation | DryRun:
    """Delete the open jobs that a filter selects; `once` as in `begin`. Raises BadRequest, BulkFull."""
    if set(wanted.states) & _ENDED:
        raise BadRequest.of("status", "only jobs that have not ended can be cancelled")
    wanted = replace(wanted, tenants=(tenant_id,), states=wanted.states or _OPEN)
    return await _begin_on_jobs(deps, CANCEL, tenant_id, wanted, dry_run=dry_run, once=once)


async def retry_jobs(
    deps: Deps,
    tenant_id: UUID,
    wanted: JobFilter,
    *,
    dry_run: bool = False,
    once: UUID | None = None,
) -> Operation | DryRun:
    """Make a new job for each that a filter selects; without a status, for each that failed.

    `once` as in `begin`. Raises BadRequest, BulkFull.
    """
    if not set(wanted.states) <= _ENDED:
        raise BadRequest.of("status", "only jobs that have ended can be retried")
    wanted = replace(wanted, tenants=(tenant_id,), states=wanted.states or _FAILED)
    return await _begin_on_jobs(deps, RETRY, tenant_id, wanted, dry_run=dry_run, once=once)


async def resend_webhooks(
    deps: Deps,
    tenant_id: UUID,
    wanted: JobFilter,
    *,
    dry_run: bool = False,
    once: UUID | None = None,
) -> Operation | DryRun:
    """Send all webhooks of the jobs that a filter selects again; `once` as in `begin`. Raises BulkFull."""
    wanted = replace(wanted, tenants=(tenant_id,))
    return await _begin_on_jobs(deps, RESEND, tenant_id, wanted, dry_run=dry_run, once=once)


async def webhooks_again(tx: Tx, deps: Deps, operation: Operation) -> Progress:
    """Have the webhooks of the next jobs sent again, in the transaction that records the progress."""
    found = await _next(tx, deps, operation)
    if found:
        await replays.resend_of_jobs(tx, operation.tenant_id, [job_id for _, job_id in found])
    return _progress(deps, found)


async def act(deps: Deps, acceptor: Acceptor, operation: Operation) -> Progress:
    """Do the next batch, each job in a transaction of its own.

    It stops early if the tenant's queue is full. To do a job twice, after a crash, changes nothing.
    """
    async with deps.db.of(operation.tenant_id) as tx:
        found = await _next(tx, deps, operation)
    done = 0
    try:
        for tenant_id, job_id in found:
            if operation.kind == CANCEL:
                await _cancel(deps, tenant_id, job_id)
            else:
                await _retry(deps, acceptor, operation, tenant_id, job_id)
            done += 1
    except QueueFull as full:
        last = found[done - 1][1] if done else None
        return Progress(done, last, full.retry_after or 1.0, finished=False)
    return _progress(deps, found)


async def _next(tx: Tx, deps: Deps, operation: Operation) -> Sequence[tuple[UUID, UUID]]:
    """The jobs of the next batch, as (tenant, job)."""
    wanted = msgspec.json.decode(operation.filter, type=JobFilter)
    limit = deps.policy.bulk_batch
    return await search.next_jobs(
        tx, wanted, after=operation.cursor, until=operation.until, limit=limit
    )


def _progress(deps: Deps, found: Sequence[tuple[UUID, UUID]]) -> Progress:
    batch, last = deps.policy.bulk_batch, found[-1][1] if found else None
    wait = batch / deps.policy.bulk_rate
    return Progress(len(found), last, wait, finished=len(found) < batch)


async def _begin_on_jobs(
    deps: Deps,
    kind: str,
    tenant_id: UUID,
    wanted: JobFilter,
    *,
    dry_run: bool,
    once: UUID | None,
) -> Operation | DryRun:
    async with deps.db.of(tenant_id) as tx:
        if not dry_run:
            await require_room(tx, deps, tenant_id)
        total, until = await search.count_and_newest(tx, wanted)
        if dry_run:
            return DryRun(total)
        text = msgspec.json.encode(wanted).decode()
        return await begin(
            tx, deps, kind, tenant_id, filter_=text, total=total, until=until, once=once
        )


async def _cancel(deps: Deps, tenant_id: UUID, job_id: UUID) -> None:
    with suppress(NotFound):  # it was deleted meanwhile
        await delete_job(deps, tenant_id, job_id, unless_ended=True)


async def _retry(
    deps: Deps, acceptor: Acceptor, operation: Operation, tenant_id: UUID, job_id: UUID
) -> None:
    # No caller can send such an idempotency key. With it a job is retried once by an operation.
    key = f"bulk\x1f{operation.id}\x1f{job_id}"
    async with deps.db.single() as tx:
        tenant = await tenants.by_id(tx, tenant_id)
    if tenant is None:
        return
    with suppress(NotFound, Conflict):  # deleted, or its input pruned
        job = await job_again(deps, tenant_id, job_id, idempotency_key=key)
        span = deps.tracer.start("accept") if deps.tracer else None
        if span:
            job = replace(job, traceparent=span.traceparent)
        accepted = await acceptor.accept(Order.of(job, tenant.limits, deps.policy))
        if span:
            outcome = "replayed" if accepted.replayed else "accepted"
            span.end(outcome, job_id=accepted.id, tenant_id=tenant_id)
