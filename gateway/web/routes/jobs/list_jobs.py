"""GET /job: the jobs of a tenant, or of all tenants that a service key may read."""

from collections.abc import Sequence
from functools import partial
from typing import cast
from uuid import UUID

from litestar import get
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from gateway.core.model import Scope
from gateway.core.text.cursor import PageCursor
from gateway.errors import BadRequest
from gateway.flows.admin.tenants import tenant_ids
from gateway.flows.deps import Deps
from gateway.flows.read.export import job_page
from gateway.flows.read.job_text import with_workflows
from gateway.web.asgi.request_context import Caller
from gateway.web.context import AnyRequest, Context, Injected
from gateway.web.parse.job_filters import job_filter
from gateway.web.respond.paging import next_link, read_cursor
from gateway.web.respond.raw_response import JSON
from gateway.web.routes.jobs.export import Format, format_of, jobs_download
from gateway.web.routes.jobs.workflow_forms import workflow_json
from gateway.web.schemas.requests import JobsQuery
from gateway.web.schemas.responses import JobOut, described

_DEEPEST = 10_000


@get(
    "/job",
    opt={
        "scope": Scope.JOBS_READ,
        "across": True,
        "media": ("text/csv", "application/x-ndjson"),
    },
    responses=described(list[JobOut]),
    operation_id="listJobs",
    summary="List jobs, newest first",
)
async def list_jobs(
    parameters: Injected[JobsQuery],
    caller: Injected[Caller],
    context: Injected[Context],
    request: AnyRequest,
) -> ASGIApp:
    """A bare array; the header Link names the next page whenever there is one.

    CSV and NDJSON hold all jobs of the filter, without pages.
    """
    kind = format_of(request, parameters.format)
    cursor, offset = _place(context.deps, parameters, kind)
    wanted = job_filter(parameters, await visible_tenants(context.deps, caller, parameters.tenant))
    shown = partial(workflow_json, context, request.scope["path"])
    if kind != "json":
        return jobs_download(context, request, kind, wanted=wanted, before=cursor.last, shown=shown)
    page = await job_page(context.deps, wanted, kind, cursor, offset=offset, size=parameters.size)
    headers = next_link(request, page.last, cursor.began) if page.more and page.last else {}
    body = await with_workflows(f"[{''.join(page.texts)[:-1]}]", {}, shown)
    answer = ASGIResponse(body=body, media_type=JSON, headers={**headers, "Vary": "Accept"})
    return cast("ASGIApp", answer)


async def visible_tenants(
    deps: Deps, caller: Caller, wanted: Sequence[str]
) -> tuple[UUID, ...] | None:
    """The tenants that a caller may read, of these slugs if there are any; None means all."""
    allowed = (caller.tenant.id,) if caller.tenant else caller.key.tenants
    if not wanted:
        return None if allowed is None else tuple(allowed)
    found = await tenant_ids(deps, wanted)
    return tuple(one for one in found if allowed is None or one in allowed)


def _place(deps: Deps, parameters: JobsQuery, kind: Format) -> tuple[PageCursor, int]:
    cursor = read_cursor(parameters.cursor, deps.page_began())
    offset = parameters.page * parameters.size
    if kind != "json" and parameters.page:
        raise BadRequest.of("page", f"cannot be used with {kind}, which has no pages")
    if cursor.last is not None and parameters.page:
        raise BadRequest.of("page", "cannot be combined with cursor")
    if offset + parameters.size > _DEEPEST and parameters.page:
        reason = f"goes beyond the first {_DEEPEST} jobs; use the cursor in the header Link instead"
        raise BadRequest.of("page", reason)
    return cursor, offset
