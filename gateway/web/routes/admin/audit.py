"""/admin/v1: the audit log."""

from litestar import Response, get

from gateway.flows.admin import audit
from gateway.flows.deps import Deps
from gateway.store.tenancy.audit import AuditFilter
from gateway.web.context import AnyRequest, Injected
from gateway.web.respond.paging import one_page, read_cursor
from gateway.web.schemas.admin_responses import AuditOut
from gateway.web.schemas.requests import AuditQuery


@get("/audit", operation_id="listAudit", summary="List the audit log, newest first")
async def list_audit(
    parameters: Injected[AuditQuery], deps: Injected[Deps], request: AnyRequest
) -> Response[list[AuditOut]]:
    """The header Link names the next page. An actor is the id or the name of a key."""
    wanted = AuditFilter(
        parameters.tenant or None,
        parameters.action,
        parameters.actor,
        parameters.created_after,
        parameters.created_before,
    )
    cursor = read_cursor(parameters.cursor, deps.page_began())
    found = await audit.list_audit(deps, wanted, cursor, parameters.size + 1)
    page, headers = one_page(request, found, parameters.size, cursor.began)
    return Response([AuditOut.of(one) for one in page], headers=headers)


HANDLERS = [list_audit]
