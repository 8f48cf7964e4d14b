"""The account of a tenant at the upstream: uploads, workflows, application."""

from litestar import Response, get

from gateway.core.model import Scope, Tenant
from gateway.flows.deps import Deps
from gateway.flows.upstream.passthrough import upload
from gateway.web.context import Context, Injected
from gateway.web.respond.raw_response import JSON
from gateway.web.schemas.requests import PageQuery
from gateway.web.schemas.responses import Application, UploadOut, WorkflowsOut, described


@get(
    "/upload",
    opt={"scope": Scope.JOBS_WRITE, "upstream": True},
    operation_id="createUpload",
    summary="Get signed URLs for one file",
)
async def create_upload(tenant: Injected[Tenant], deps: Injected[Deps]) -> UploadOut:
    """The URLs are the upstream's: PUT the file to one, and pass the other to a job."""
    place = await upload(deps, tenant.id)
    return UploadOut(place.upload_url, place.download_url)


@get(
    "/workflow",
    opt={"scope": Scope.JOBS_READ, "upstream": True},
    responses=described(WorkflowsOut),
    operation_id="listWorkflows",
    summary="List the workflows that a job may name",
)
async def list_workflows(
    parameters: Injected[PageQuery], tenant: Injected[Tenant], context: Injected[Context]
) -> Response[bytes]:
    """Cached for up to a minute, and longer while the upstream is down."""
    found = await context.workflows.page(tenant.id, parameters.page, parameters.size)
    body = f'{{"workflows":[{",".join(one.raw for one in found)}]}}'
    return Response(body.encode(), media_type=JSON)


@get(
    "/application",
    opt={"scope": Scope.JOBS_READ},
    operation_id="getApplication",
    summary="Read the tenant of this key",
)
async def get_application(tenant: Injected[Tenant]) -> Application:
    """Shows the tenant in place of the upstream's application."""
    return Application(str(tenant.id), tenant.name)


HANDLERS = [create_upload, list_workflows, get_application]
