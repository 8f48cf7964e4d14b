"""/admin/v1: the sessions of the console and of the portal."""

from uuid import UUID

from litestar import Response, delete, get
from litestar.params import FromPath

from gateway.errors import NotFound
from gateway.flows.admin import sessions
from gateway.flows.admin.sessions import SessionKind
from gateway.flows.admin.tenants import get_tenant
from gateway.flows.deps import Deps
from gateway.web.asgi.request_context import Caller
from gateway.web.context import AnyRequest, Injected
from gateway.web.respond.paging import one_page, read_cursor
from gateway.web.schemas.responses import Deleted
from gateway.web.schemas.session_requests import SessionKindName, SessionsQuery
from gateway.web.schemas.session_responses import SessionOut

_KINDS: dict[SessionKindName | None, SessionKind | None] = {
    None: None,
    SessionKindName.CONSOLE: "console",
    SessionKindName.PORTAL: "portal",
}


@get("/session", operation_id="listSessions", summary="List the open sessions, newest first")
async def list_sessions(
    parameters: Injected[SessionsQuery], deps: Injected[Deps], request: AnyRequest
) -> Response[list[SessionOut]]:
    """Who is signed in to the console or the portal; the header Link names the next page."""
    tenant = await get_tenant(deps, parameters.tenant) if parameters.tenant else None
    found = await sessions.list_sessions(
        deps,
        before=read_cursor(parameters.cursor).last,
        limit=parameters.size + 1,
        tenant_id=tenant and tenant.id,
        kind=_KINDS[parameters.kind],
    )
    page, headers = one_page(request, found, parameters.size)
    return Response([SessionOut.of(one) for one in page], headers=headers)


@delete(
    "/session/{session_id:uuid}",
    status_code=200,
    operation_id="endSession",
    summary="End a session at once",
)
async def end_session(
    session_id: FromPath[UUID], caller: Injected[Caller], deps: Injected[Deps]
) -> Deleted:
    """All processes refuse it within seconds."""
    if not await sessions.end(deps, session_id, actor=caller.key.key_id):
        raise NotFound("There is no such session; it may have ended already.")
    return Deleted(str(session_id))


HANDLERS = [list_sessions, end_session]
