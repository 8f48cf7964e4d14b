"""Many jobs at once: batches, retries, and bulk operations on jobs."""

import hashlib
from dataclasses import replace
from uuid import UUID

from litestar import Response, post
from litestar.params import FromPath

from gateway.core.model import NewJob, Scope, Tenant
from gateway.errors import BadRequest, FieldError
from gateway.flows.accept.acceptor import Order, refusals_reported
from gateway.flows.accept.batch import accept_batch, key_in_batch
from gateway.flows.accept.retry_job import job_again
from gateway.flows.bulk import jobs as bulk_jobs
from gateway.flows.bulk.start import DryRun
from gateway.flows.deliver.endpoints import check_callback
from gateway.flows.deps import Deps
from gateway.store.job_search.filter import JobFilter, selects_all
from gateway.store.work.bulk_operations import Operation
from gateway.web.asgi.request_context import Caller, RequestContext
from gateway.web.context import AnyRequest, Context, Injected, request_context_of
from gateway.web.parse.idempotency_key import idempotency_key_of
from gateway.web.parse.job_filters import job_filter
from gateway.web.parse.large_bodies import read_large
from gateway.web.parse.validation_errors import refusal
from gateway.web.routes.jobs.create_job import new_job, require_credential
from gateway.web.schemas.requests import BatchIn, BatchJobIn, JobsBulkIn, JobsFilterIn
from gateway.web.schemas.responses import BatchMade, RetryMade
from gateway.web.schemas.webhook_responses import BulkOut, DryRunOut

_ACT = {"scope": Scope.JOBS_WRITE, "or_scopes": (Scope.SUPPORT,)}


@post(
    "/batch",
    opt={"scope": Scope.JOBS_WRITE, "headers": ("Idempotency-Key",)},
    status_code=200,
    operation_id="createBatch",
    summary="Create many jobs, all or none",
)
async def create_batch(
    payload: Injected[BatchIn],
    caller: Injected[Caller],
    context: Injected[Context],
    request: AnyRequest,
) -> Response[BatchMade]:
    """The response comes after all jobs are stored; it has their ids in the order of the request."""
    with refusals_reported(context.deps):
        return await _create_batch(payload, caller, context.deps, request_context_of(request))


async def _create_batch(
    payload: BatchIn, caller: Caller, deps: Deps, request_context: RequestContext
) -> Response[BatchMade]:
    tenant = caller.required_context.tenant
    require_credential(has_credential=caller.required_context.has_credential)
    await _check_callbacks(deps, payload.jobs)
    key, digest = idempotency_key_of(request_context), hashlib.sha256(request_context.body).digest()
    size, traceparent = len(request_context.body), request_context.traceparent
    batch = await read_large(size, _jobs, deps, tenant, payload, traceparent)
    if key is not None:
        # The key is for the whole request, so each job stores the digest of the whole body.
        batch = [
            replace(job, idempotency_key=key_in_batch(key, place), request_hash=digest)
            for place, job in enumerate(batch)
        ]
    accepted = await accept_batch(deps, batch, tenant.limits)
    made = BatchMade(payload.name, [str(job_id) for job_id in accepted.ids])
    return Response(made, headers=_replayed(is_replay=accepted.replayed))


@post(
    "/job/{job_id:uuid}/retry",
    opt={**_ACT, "headers": ("Idempotency-Key",)},
    status_code=200,
    operation_id="retryJob",
    summary="Run a job again",
)
async def retry_job(
    job_id: FromPath[UUID],
    tenant: Injected[Tenant],
    context: Injected[Context],
    request: AnyRequest,
) -> Response[RetryMade]:
    """Creates a new job with the input of an ended job."""
    request_context, deps = request_context_of(request), context.deps
    with refusals_reported(deps):
        key = idempotency_key_of(request_context)
        job = await job_again(deps, tenant.id, job_id, idempotency_key=key)
        job = replace(job, traceparent=request_context.traceparent)
        accepted = await context.acceptor.accept(Order.of(job, tenant.limits, deps.policy))
    if request_context.span:
        request_context.span.note(job_id=accepted.id)
    made = RetryMade(str(accepted.id), str(job_id))
    return Response(made, headers=_replayed(is_replay=accepted.replayed))


@post(
    "/job/cancel",
    opt=_ACT,
    status_code=200,
    operation_id="cancelJobs",
    summary="Delete open jobs",
)
async def cancel_jobs(
    payload: Injected[JobsBulkIn], tenant: Injected[Tenant], deps: Injected[Deps]
) -> BulkOut | DryRunOut:
    """Starts a bulk operation on the open jobs of a filter."""
    wanted = _filter(payload.filter)
    return _shown(await bulk_jobs.cancel_jobs(deps, tenant.id, wanted, dry_run=payload.dry_run))


@post(
    "/job/retry",
    opt=_ACT,
    status_code=200,
    operation_id="retryJobs",
    summary="Run jobs again",
)
async def retry_jobs(
    payload: Injected[JobsBulkIn], tenant: Injected[Tenant], deps: Injected[Deps]
) -> BulkOut | DryRunOut:
    """Starts a bulk operation on the failed jobs of a filter."""
    wanted = _filter(payload.filter)
    return _shown(await bulk_jobs.retry_jobs(deps, tenant.id, wanted, dry_run=payload.dry_run))


@post(
    "/job/resend",
    opt={"scope": Scope.ENDPOINTS_WRITE, "or_scopes": (Scope.SUPPORT,)},
    status_code=200,
    operation_id="resendWebhooksOfJobs",
    summary="Resend all webhooks of jobs",
)
async def resend_webhooks(
    payload: Injected[JobsBulkIn], tenant: Injected[Tenant], deps: Injected[Deps]
) -> BulkOut | DryRunOut:
    """Starts a bulk operation on the jobs of a filter, in any state; it counts jobs, not webhooks."""
    wanted = _filter(payload.filter)
    return _shown(await bulk_jobs.resend_webhooks(deps, tenant.id, wanted, dry_run=payload.dry_run))


def _replayed(*, is_replay: bool) -> dict[str, str]:
    return {"Idempotency-Replayed": "true"} if is_replay else {}


async def _check_callbacks(deps: Deps, jobs: list[BatchJobIn]) -> None:
    """Check each URL once; an error names the first job with it."""
    first: dict[str, int] = {}
    for place, job in enumerate(jobs):
        if job.callback_url is not None:
            first.setdefault(job.callback_url, place)
    for url, place in first.items():
        await check_callback(deps, f"jobs[{place}].callbackUrl", url)


def _jobs(deps: Deps, tenant: Tenant, payload: BatchIn, traceparent: str | None) -> list[NewJob]:
    """The jobs to store; raises BadRequest that names every fault of every job."""
    made: list[NewJob] = []
    faults: list[FieldError] = []
    for place, job in enumerate(payload.jobs):
        try:
            made.append(new_job(deps, tenant, job, None, payload.name, traceparent=traceparent))
        except BadRequest as error:
            faults += [FieldError(f"jobs[{place}].{one.field}", one.reason) for one in error.errors]
    if faults:
        raise refusal(faults)
    return made


def _filter(payload: JobsFilterIn) -> JobFilter:
    wanted = job_filter(payload, None, "filter.")
    if selects_all(wanted):
        raise BadRequest.of(
            "filter", "is empty, which would mean every job; name at least one field"
        )
    return wanted


def _shown(begun: Operation | DryRun) -> BulkOut | DryRunOut:
    return DryRunOut(True, begun.count) if isinstance(begun, DryRun) else BulkOut.of(begun)


HANDLERS = [create_batch, retry_job, cancel_jobs, retry_jobs, resend_webhooks]
