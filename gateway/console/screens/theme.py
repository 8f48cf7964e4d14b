"""Theme: light, dark, or as the system has it, kept in a cookie of this browser."""

from litestar import Response, post

from gateway.console.cookies import PORTAL_THEME, THEME, THEMES, kept_for_good
from gateway.console.view import View
from gateway.errors import BadRequest
from gateway.web.context import Injected


@post("/theme", status_code=200, opt={"scope": None})  # every role may
async def choose_theme(view: Injected[View]) -> Response[bytes]:
    """Keep the theme."""
    theme = view.form.get("theme", "")
    if theme not in THEMES:
        raise BadRequest.of("theme", f"must be one of {', '.join(THEMES)}")
    cookie = kept_for_good(PORTAL_THEME if view.is_portal else THEME, theme)
    return view.go(view.own_path(view.form.get("next", "")), cookie=cookie)


HANDLERS = [choose_theme]
