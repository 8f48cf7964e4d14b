"""The way into a portal and out of it: a one-time link opens a session, and leaving ends it."""

from litestar import Response, get, post

from gateway.console.cookies import PORTAL_SESSION, dropped, kept
from gateway.console.screens.sign_in import address_of
from gateway.console.view import View
from gateway.errors import GatewayError
from gateway.flows.admin import sessions
from gateway.web.asgi.types import AnyRequest
from gateway.web.context import Injected


@get("/link")
async def show_portal_link(view: Injected[View], request: AnyRequest) -> Response[bytes]:
    """Open the portal in a frame; elsewhere show a form, so that programs that look at links do not use it up."""
    token = request.query_params.get("token", "")
    if view.request.header(b"sec-fetch-dest") == "iframe":
        return await _enter(view, request, token)
    return view.page("portal/link.html", token=token)


@post("/link", status_code=200)
async def use_portal_link(view: Injected[View], request: AnyRequest) -> Response[bytes]:
    """Open the portal."""
    return await _enter(view, request, view.form.get("token", ""))


@post("/leave", status_code=200, opt={"scope": None})
async def leave(view: Injected[View]) -> Response[bytes]:
    """End the session; the page says how to come back."""
    await sessions.end(view.deps, view.signed_in.id)
    return view.go(view.home, cookie=dropped(PORTAL_SESSION))


async def _enter(view: View, request: AnyRequest, token: str) -> Response[bytes]:
    """Make a session for a link, and show the first page; the page of a refusal says why."""
    try:
        _, text = await sessions.redeem(view.deps, token, address_of(request), kind="portal")
    except GatewayError as error:
        return view.page("portal/refused.html", status=error.status, fault=error.detail)
    return view.go(view.home, cookie=kept(PORTAL_SESSION, text))


OPEN = [show_portal_link, use_portal_link]
HANDLERS = [leave]
