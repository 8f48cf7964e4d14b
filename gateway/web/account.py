"""What is the tenant's at the upstream: uploads, workflows, its application; and its usage."""

from datetime import datetime

from litestar import Response, get

from gateway.core.model import Scope, Tenant
from gateway.errors import BadRequest
from gateway.flows.catalogue import upload
from gateway.flows.deps import Deps
from gateway.store import history
from gateway.store.history import USAGE_GROUPS, UsageRow
from gateway.web.answer import JSON
from gateway.web.context import Context, Handed
from gateway.web.envelope import Caller
from gateway.web.listing import visible_tenants
from gateway.web.shown import Application, Mean, UploadOut, Usage, WorkflowsOut, described, stamp
from gateway.web.wire import PageQuery, UsageQuery


@get("/upload", opt={"scope": Scope.JOBS_WRITE}, summary="Get signed URLs for one file")
async def make_upload(tenant: Handed[Tenant], deps: Handed[Deps]) -> UploadOut:
    """The upstream's own: PUT the file to one, give the other to a job."""
    place = await upload(deps, tenant.id)
    return UploadOut(place.upload_url, place.download_url)


@get(
    "/workflow",
    opt={"scope": Scope.JOBS_READ, "query": PageQuery},
    responses=described(WorkflowsOut),
    summary="List the workflows that a job may name",
)
async def list_workflows(
    asked: Handed[PageQuery], tenant: Handed[Tenant], context: Handed[Context]
) -> Response[bytes]:
    """At most a minute old, older while the upstream is down."""
    found = await context.workflows.page(tenant.id, asked.page, asked.size)
    body = f'{{"workflows":[{",".join(one.raw for one in found)}]}}'
    return Response(body.encode(), media_type=JSON)


@get("/application", opt={"scope": Scope.JOBS_READ}, summary="Read whose key this is")
async def read_application(tenant: Handed[Tenant]) -> Application:
    """The tenant, in the place of the upstream's application."""
    return Application(str(tenant.id), tenant.name)


@get(
    "/usage",
    opt={"scope": Scope.USAGE_READ, "query": UsageQuery, "across": True},
    summary="Sum up ended jobs",
)
async def read_usage(
    asked: Handed[UsageQuery], caller: Handed[Caller], deps: Handed[Deps]
) -> Usage:
    """Jobs, queue wait and run time from the hourly roll-up."""
    groups = _groups(asked.group_by)
    visible = await visible_tenants(deps, caller, asked.tenant)
    async with deps.db.single() as tx:
        rows = await history.usage(tx, groups, visible, asked.from_, asked.to)
    return Usage(groups, [_shown(groups, row) for row in rows])


def _groups(text: str) -> list[str]:
    groups = list(dict.fromkeys(name for name in text.split(",") if name))
    unknown = [name for name in groups if name not in USAGE_GROUPS]
    if unknown:
        reason = f"'{unknown[0]}' is not one of {', '.join(USAGE_GROUPS)}"
        raise BadRequest.of("groupBy", reason)
    return groups


def _shown(groups: list[str], row: UsageRow) -> dict[str, object]:
    jobs = max(row.jobs, 1)
    columns = {
        name: stamp(value) if isinstance(value, datetime) else value
        for name, value in zip(groups, row.group, strict=True)
    }
    return {
        **columns,
        "jobs": row.jobs,
        "queueWaitSeconds": Mean(row.wait_seconds / jobs),
        "runSeconds": Mean(row.run_seconds / jobs),
    }


HANDLERS = [make_upload, list_workflows, read_application, read_usage]
