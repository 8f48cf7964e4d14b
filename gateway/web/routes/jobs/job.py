"""One job: create it, read it, wait for it, delete it, read its timeline."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from litestar import Response, delete, get, post
from litestar.params import FromPath

from gateway.core.events import job_json
from gateway.core.model import STATE_STATUS, TERMINAL, Job, JobState, Scope, Tenant
from gateway.core.waits_for import Wait
from gateway.errors import Forbidden
from gateway.flows.admin.support_bundle import support_bundle
from gateway.flows.deps import Deps
from gateway.flows.read.jobs import find_job
from gateway.flows.read.timeline import timeline
from gateway.flows.upstream.delete_job import delete_job
from gateway.web.asgi.request_context import Caller
from gateway.web.context import AnyRequest, Context, Injected, request_context_of
from gateway.web.respond.csv import file_named
from gateway.web.respond.raw_response import JSON
from gateway.web.routes.jobs.create_job import accept
from gateway.web.routes.jobs.long_poll import awaited_job, etag, owner_of
from gateway.web.routes.jobs.workflow_forms import shown_workflow
from gateway.web.schemas.bundle_responses import SupportBundleOut, moments_of
from gateway.web.schemas.requests import BundleQuery, JobIn, JobQuery
from gateway.web.schemas.responses import (
    Deleted,
    JobMade,
    JobOut,
    JobStatus,
    Moment,
    described,
)


@post(
    "/job",
    opt={"scope": Scope.JOBS_WRITE, "body": JobIn, "headers": ("Idempotency-Key", "Prefer")},
    responses=described(JobOut | JobStatus | JobMade),
    status_code=200,
    operation_id="createJob",
    summary="Run a job",
)
async def create_job(context: Injected[Context], request: AnyRequest) -> Response[bytes]:
    """The response comes after the job is stored in Postgres."""
    answer = await accept(context, request_context_of(request), request.scope["path"])
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, media_type=answer.media_type, headers=headers)


# A service key that names no tenant reads jobs of all tenants that it is allowed to act for.
_READ = {"scope": Scope.JOBS_READ, "across": True}
_READ_AND_WAIT = {**_READ, "headers": ("If-None-Match",)}


@get(
    "/job/{job_id:uuid}",
    opt=_READ_AND_WAIT,
    responses=described(JobOut),
    operation_id="getJob",
    summary="Read a job",
)
async def get_job(
    job_id: FromPath[UUID],
    parameters: Injected[JobQuery],
    caller: Injected[Caller],
    context: Injected[Context],
    request: AnyRequest,
) -> Response[bytes]:
    """With `wait` this is a long poll: the response comes when the job has ended, or when its version
    differs from the one in If-None-Match.

    304 if If-None-Match names the current version.
    """
    tenant_id = await owner_of(context.deps, caller, job_id)
    known = await _known(request, parameters, tenant_id, context, job_id)
    job = await awaited_job(context, caller, tenant_id, job_id, parameters.wait, known=known)
    return await job_answer(context, request.scope["path"], job)


async def job_answer(context: Context, path: str, job: Job) -> Response[bytes]:
    """The response with a job; `/api` shows its workflow in another way."""
    place, wait = await _wait(context, job)
    text = job_json(
        replace(job, next_at=_later(job.next_at, wait and wait.until)),
        workflow=await shown_workflow(context, path, job),
        queue_position=place,
        waits_for=wait,
    )
    return Response(text.encode(), media_type=JSON, headers={"ETag": etag(job)})


async def _known(
    request: AnyRequest, parameters: JobQuery, tenant_id: UUID, context: Context, job_id: UUID
) -> str:
    request_context = request_context_of(request)
    known = request_context.header(b"if-none-match")
    if parameters.wait and known.strip() == "*":
        # `*` means the current version, so the request waits for a later one.
        known = etag(await find_job(context.deps, tenant_id, job_id))
        request_context.headers[b"if-none-match"] = known.encode()
    return known


async def _wait(context: Context, job: Job) -> tuple[int | None, Wait | None]:
    """For an open job: how many jobs go first, and what it waits for."""
    if job.state in TERMINAL:
        return None, None
    reads = context.watchers.reads
    place = await reads.ahead(job) if job.state is JobState.ACCEPTED else None
    return place, await reads.wait(job, place)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)


@get(
    "/job/{job_id:uuid}/status",
    opt={**_READ, "headers": ("If-None-Match",)},
    operation_id="getJobStatus",
    summary="Read only the status of a job",
)
async def get_job_status(
    job_id: FromPath[UUID], caller: Injected[Caller], deps: Injected[Deps]
) -> Response[JobStatus]:
    """One of the upstream's four words; 304 if If-None-Match names the current version."""
    job = await find_job(deps, await owner_of(deps, caller, job_id), job_id)
    status = JobStatus(str(job.id), STATE_STATUS[job.state])
    return Response(status, headers={"ETag": etag(job)})


@delete(
    "/job/{job_id:uuid}",
    opt={"scope": Scope.JOBS_WRITE, "or_scopes": (Scope.SUPPORT,), "upstream": True},
    status_code=200,
    operation_id="deleteJob",
    summary="Delete a job",
)
async def remove_job(
    job_id: FromPath[UUID],
    tenant: Injected[Tenant],
    caller: Injected[Caller],
    deps: Injected[Deps],
) -> Deleted:
    """A job that was not submitted yet is never submitted. Any other job is deleted upstream too.

    A key with `support` alone cancels open jobs; it cannot delete one that has ended.
    """
    may_delete = Scope.JOBS_WRITE in caller.key.scopes
    if not await delete_job(deps, tenant.id, job_id, unless_ended=not may_delete):
        raise Forbidden(
            "The job has ended. To delete it, the access key needs the scope jobs:write."
        )
    return Deleted(str(job_id))


@get(
    "/job/{job_id:uuid}/event",
    opt=_READ,
    operation_id="getJobTimeline",
    summary="Read the timeline of a job",
)
async def get_job_timeline(
    job_id: FromPath[UUID], caller: Injected[Caller], deps: Injected[Deps]
) -> list[Moment]:
    """Everything that happened to the job, oldest first."""
    return await moments(deps, await owner_of(deps, caller, job_id), job_id)


async def moments(deps: Deps, tenant_id: UUID, job_id: UUID) -> list[Moment]:
    """The timeline of a job as it is shown; raises NotFound."""
    return moments_of(await timeline(deps, tenant_id, job_id))


@get(
    "/job/{job_id:uuid}/support-bundle",
    opt=_READ,
    responses=described(SupportBundleOut),
    operation_id="getJobSupportBundle",
    summary="Read what explains a job, to send it to somebody else",
)
async def get_job_support_bundle(
    job_id: FromPath[UUID],
    parameters: Injected[BundleQuery],
    caller: Injected[Caller],
    context: Injected[Context],
) -> Response[bytes]:
    """One JSON object without keys, signing secrets, headers, and queries of URLs.

    With `payloads=true` also the job's input, result and metadata.
    """
    tenant_id = await owner_of(context.deps, caller, job_id)
    found = await support_bundle(
        context.deps,
        context.watchers.reads,
        tenant_id,
        job_id,
        payloads=parameters.payloads,
    )
    headers = file_named(f"job-{job_id}", found.made_at, "json")
    return Response(SupportBundleOut.of(found).file(), media_type=JSON, headers=headers)


HANDLERS = [
    create_job,
    get_job,
    get_job_status,
    remove_job,
    get_job_timeline,
    get_job_support_bundle,
]
