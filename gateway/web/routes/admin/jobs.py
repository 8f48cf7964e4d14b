"""/admin/v1: one job of any tenant, for support."""

from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath

from gateway.flows.deps import Deps
from gateway.flows.read.jobs import find_job
from gateway.web.asgi.request_context import Caller
from gateway.web.context import AnyRequest, Context, Injected
from gateway.web.routes.jobs.job import job_answer, moments
from gateway.web.routes.jobs.long_poll import owner_of
from gateway.web.schemas.responses import JobOut, Moment, described


@get(
    "/job/{job_id:uuid}",
    opt={"headers": ("If-None-Match",)},
    responses=described(JobOut),
    operation_id="getAnyJob",
    summary="Read a job of any tenant",
)
async def get_any_job(
    job_id: FromPath[UUID],
    caller: Injected[Caller],
    context: Injected[Context],
    request: AnyRequest,
) -> Response[bytes]:
    """The same as its tenant sees, also while the tenant is suspended."""
    tenant_id = await owner_of(context.deps, caller, job_id)
    job = await find_job(context.deps, tenant_id, job_id)
    return await job_answer(context, request.scope["path"], job)


@get(
    "/job/{job_id:uuid}/event",
    operation_id="listAnyJobEvents",
    summary="Read the timeline of a job of any tenant",
)
async def list_any_job_events(
    job_id: FromPath[UUID], caller: Injected[Caller], deps: Injected[Deps]
) -> list[Moment]:
    """Everything that happened to the job, oldest first, with every delivery attempt of its webhooks."""
    return await moments(deps, await owner_of(deps, caller, job_id), job_id)


HANDLERS = [get_any_job, list_any_job_events]
