"""Who may see a page: a session, a role, and for writes a token that only our own pages have."""

from litestar import Response
from litestar.handlers.base import BaseRouteHandler

from gateway.console.cookies import PORTAL_SESSION, SESSION, cookie_of
from gateway.console.form import read_form, require_own_site, require_small, require_token
from gateway.console.view import View, sign_in_path, view_of
from gateway.core.model import Scope
from gateway.errors import Forbidden, RateLimited, Unauthorized
from gateway.flows.admin import sessions
from gateway.flows.admin.sessions import Session
from gateway.web.asgi.types import AnyRequest
from gateway.web.auth import AnyConnection
from gateway.web.parse.query_string import read_query

_READS = "GET"
_UNAUTHORIZED = 401
_PAGES_PER_SECOND = 30


class SignInNeeded(Unauthorized):
    """There is no session, or it has ended."""


async def guard_open(connection: AnyConnection, _handler: BaseRouteHandler) -> None:
    """Let everybody in, but no form of another site."""
    view = _view(connection)
    if view.request.method in (_READS, "HEAD"):
        return
    require_own_site(view.request)
    require_small(view.request)
    view.form = await read_form(view.request)


async def guard_staff(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Let those in who are signed in and whose role has the scope that the handler names in its `opt`."""
    view = _view(connection)
    view.session = await require_session(view)
    if view.session.kind != "console":
        raise Forbidden("This session is for the portal of a tenant.")
    await _require_rights(view, handler)


async def guard_portal(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Let those in who opened the portal by a link, to the pages that it names, and no faster than people go."""
    view = _view(connection)
    view.session = await require_session(view)
    if view.session.kind != "portal" or view.session.tenant is None:
        raise Forbidden("This session is for the console.")
    pages = handler.opt.get("pages", ())
    if pages and not any(view.shows(page) for page in pages):
        raise Forbidden("The link into this portal does not show this page.")
    allowance = await view.deps.limiter.hit(f"portal:{view.session.id}", _PAGES_PER_SECOND)
    if not allowance.allowed:
        raise RateLimited(
            "This session asks for too many pages. Wait a second.", retry_after=allowance.reset
        )
    await _require_rights(view, handler)


async def _require_rights(view: View, handler: BaseRouteHandler) -> None:
    """Check the scope that the handler needs, the query, and what proves that a form is ours."""
    session = view.signed_in
    scope: Scope | None = handler.opt["scope"]
    if scope is not None:
        view.require(scope)
    if "query" in handler.opt:
        view.request.parameters = read_query(handler.opt["query"], _filled(view.request.query))
    if view.request.method not in (_READS, "HEAD"):
        require_own_site(view.request)
        view.form = await read_form(view.request)
        require_token(view.request, view.form, session)


async def require_session(view: View) -> Session:
    """The session of a request, as long as it lasts; raises SignInNeeded."""
    token = cookie_of(view.request, PORTAL_SESSION if view.is_portal else SESSION)
    session = await sessions.find(view.deps, token) if token else None
    if session is None:
        raise SignInNeeded("Sign in first.")
    return session


def ask_to_sign_in(request: AnyRequest, _error: Exception) -> Response[bytes]:
    """Lead to the page to sign in, and back; nobody signs in to a portal, so it says how to go on."""
    view = view_of(request)
    if view.is_portal:
        return view.page("portal/ended.html", status=_UNAUTHORIZED)
    return view.go(sign_in_path(view))


def _filled(query: bytes) -> bytes:
    """The query without the fields that a form left empty."""
    return b"&".join(pair for pair in query.split(b"&") if not pair.endswith(b"="))


def _view(connection: AnyConnection) -> View:
    return view_of(connection)  # type: ignore[arg-type]
