"""Styles, scripts and icons, which browsers keep for good."""

from litestar import Response, get
from litestar.params import FromPath

from gateway.console import assets
from gateway.console.view import View
from gateway.errors import NotFound
from gateway.web.context import Injected

_FOR_GOOD = "public, max-age=31536000, immutable"


@get("/assets/{name:str}")
async def get_asset(view: Injected[View], name: FromPath[str]) -> Response[bytes]:
    """One file, compressed for those who take that."""
    found = assets.load()
    asset = found and found.files.get(name)
    if not asset:
        raise NotFound("There is no such file.")
    headers = {
        "Cache-Control": _FOR_GOOD,
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
    }
    if "gzip" in view.request.header(b"accept-encoding"):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.gzipped, media_type=asset.media_type, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)


OPEN = [get_asset]
