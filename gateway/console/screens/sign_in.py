"""Sign in with an operator key or by a one-time link, and sign out."""

from litestar import Response, get, post

from gateway.console.cookies import SESSION, dropped, kept
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.errors import GatewayError
from gateway.flows.admin import sessions
from gateway.web.asgi.types import AnyRequest
from gateway.web.context import Injected

_NOBODYS: dict[str, Scope | None] = {"scope": None}  # every role may


@get("/sign-in")
async def show_sign_in(view: Injected[View], request: AnyRequest) -> Response[bytes]:
    """The form; it leads to the page that was asked for."""
    wanted = view.own_path(request.query_params.get("next", ""))
    provider, url = view.deps.identity_provider, None
    if provider is not None and request.query_params.get("left"):
        url = await provider.sign_out_url()
    return form_page(view, wanted, sign_out_url=url)


@post("/sign-in", status_code=200)
async def sign_in(view: Injected[View], request: AnyRequest) -> Response[bytes]:
    """Make a session for an operator key."""
    wanted, key = view.own_path(view.form.get("next", "")), view.form.get("key", "").strip()
    try:
        _, token = await sessions.sign_in(view.deps, key, address_of(request))
    except GatewayError as error:
        return form_page(view, wanted, error)
    return view.go(wanted, cookie=kept(SESSION, token))


@get("/link")
async def show_link(view: Injected[View], request: AnyRequest) -> Response[bytes]:
    """A form that uses the link up, so that programs that look at links in messages do not."""
    return view.page("link.html", token=request.query_params.get("token", ""))


@post("/link", status_code=200)
async def use_link(view: Injected[View], request: AnyRequest) -> Response[bytes]:
    """Make a session for a one-time link."""
    try:
        given, address = view.form.get("token", ""), address_of(request)
        _, token = await sessions.redeem(view.deps, given, address, kind="console")
    except GatewayError as error:
        return form_page(view, view.home, error)
    return view.go(view.home, cookie=kept(SESSION, token))


@post("/sign-out", status_code=200, opt=_NOBODYS)
async def sign_out(view: Injected[View]) -> Response[bytes]:
    """End the session; who may be signed in at an identity provider, too, is offered its page for that."""
    await sessions.end(view.deps, view.signed_in.id)
    left = "" if view.signed_in.key_id else "?left=provider"
    return view.go(view.at(f"/sign-in{left}"), cookie=dropped(SESSION))


def form_page(
    view: View, wanted: str, error: GatewayError | None = None, *, sign_out_url: str | None = None
) -> Response[bytes]:
    """The page to sign in, with why the last attempt failed; it leads to the page that was asked for."""
    status, fault = (error.status, error.detail) if error else (200, "")
    return view.page(
        "sign_in.html", status=status, next=wanted, fault=fault, sign_out_url=sign_out_url
    )


def address_of(request: AnyRequest) -> str | None:
    """The address that a request came from."""
    return request.client.host if request.client else None


OPEN = [show_sign_in, sign_in, show_link, use_link]
HANDLERS = [sign_out]
