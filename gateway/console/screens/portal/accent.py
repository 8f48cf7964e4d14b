"""The accent colour of a portal as a style sheet of its own, because pages have no inline styles."""

from litestar import Response, get
from litestar.params import FromPath

from gateway.core.portal.accent import accent_style
from gateway.errors import NotFound

_FOR_GOOD = "public, max-age=31536000, immutable"


@get("/accent/{colour:str}/{mode:str}")
async def get_accent(colour: FromPath[str], mode: FromPath[str]) -> Response[bytes]:
    """The style of one colour, such as /accent/1f6feb/auto."""
    style = accent_style(f"#{colour}", mode)
    if style is None:
        raise NotFound("There is no such style.")
    headers = {"Cache-Control": _FOR_GOOD, "X-Content-Type-Options": "nosniff"}
    return Response(style.encode(), media_type="text/css", headers=headers)


OPEN = [get_accent]
