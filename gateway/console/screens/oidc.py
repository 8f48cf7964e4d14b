"""Sign in at an identity provider (OpenID Connect): to the provider, and back from it."""

from litestar import Response, get
from litestar.datastructures import Cookie

from gateway.console.cookies import ATTEMPT, SESSION, cookie_of, kept, kept_for
from gateway.console.screens.sign_in import address_of, form_page
from gateway.console.view import View
from gateway.errors import GatewayError
from gateway.flows.admin import staff_sign_in
from gateway.ports import ProviderAnswer
from gateway.web.asgi.types import AnyRequest
from gateway.web.context import Injected

_LONGEST = 4_096


@get("/oidc/start")
async def start(view: Injected[View], request: AnyRequest) -> Response[bytes]:
    """Send the browser to the provider."""
    staff_sign_in.require_provider(view.deps)
    wanted = view.own_path(request.query_params.get("next", ""))
    try:
        way = await staff_sign_in.begin(view.deps, wanted, address_of(request))
    except GatewayError as error:
        return form_page(view, wanted, error)
    return view.go(way.url, cookie=kept_for(ATTEMPT, way.sealed, staff_sign_in.ATTEMPT_LIFETIME))


@get("/oidc/callback")
async def come_back(view: Injected[View], request: AnyRequest) -> Response[bytes]:
    """Make a session for the person whom the provider names, and lead to the page that was asked for."""
    staff_sign_in.require_provider(view.deps)
    attempt = staff_sign_in.attempt_of(view.deps, cookie_of(view.request, ATTEMPT))
    wanted = view.own_path(attempt.wanted if attempt else "")
    try:
        _, token = await staff_sign_in.finish(
            view.deps, attempt, _answer(request), address_of(request)
        )
    except GatewayError as error:
        page = form_page(view, wanted, error)
    else:
        page = view.go(wanted, cookie=kept(SESSION, token))
    page.set_cookie(
        Cookie(key=ATTEMPT, value="", max_age=0, secure=True, httponly=True, samesite="lax")
    )
    return page


def _answer(request: AnyRequest) -> ProviderAnswer:
    names = ("state", "code", "iss", "error", "error_description")
    given = (request.query_params.get(name, "")[:_LONGEST] for name in names)
    return ProviderAnswer(*given)


OPEN = [start, come_back]
