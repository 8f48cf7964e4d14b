"""Times: in UTC or as the browser's clock has them, kept in a cookie of this browser."""

from litestar import Response, post

from gateway.console.cookies import PORTAL_TIMES, TIMES, TIMES_SHOWN, kept_for_good
from gateway.console.view import View
from gateway.errors import BadRequest
from gateway.web.context import Injected


@post("/times", status_code=200, opt={"scope": None})  # every role may
async def choose_times(view: Injected[View]) -> Response[bytes]:
    """Keep the choice."""
    times = view.form.get("times", "")
    if times not in TIMES_SHOWN:
        raise BadRequest.of("times", f"must be one of {', '.join(TIMES_SHOWN)}")
    cookie = kept_for_good(PORTAL_TIMES if view.is_portal else TIMES, times)
    return view.go(view.own_path(view.form.get("next", "")), cookie=cookie)


HANDLERS = [choose_times]
