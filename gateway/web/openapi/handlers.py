"""Serves the documents and the pages; their bytes never change, so each has an ETag."""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from litestar import Response, get

from gateway.web.asgi.types import AnyRequest
from gateway.web.auth import guard_public
from gateway.web.openapi.document import as_json, main_document, older_document
from gateway.web.openapi.page import INDEX, STYLE_HASH, reference_page
from gateway.web.respond.raw_response import JSON

_CACHED = {"Cache-Control": "public, max-age=300"}
_PAGE = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_HTML = "text/html"


@dataclass(frozen=True, slots=True)
class ReferencePage:
    """A document or a page, ready to send."""

    body: bytes
    media_type: str
    headers: dict[str, str]

    @classmethod
    def of(cls, body: bytes, media_type: str, more: dict[str, str]) -> "ReferencePage":
        """Add the ETag of these bytes."""
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return cls(body, media_type, {"ETag": tag, **_CACHED, **more})


@cache
def pages() -> dict[str, ReferencePage]:
    """All documents and pages by path, made once."""
    main, older = main_document(), older_document()
    return {
        "/schema/openapi.json": ReferencePage.of(as_json(main), JSON, {}),
        "/schema/api.json": ReferencePage.of(as_json(older), JSON, {}),
        "/docs": ReferencePage.of(reference_page(main), _HTML, _PAGE),
        "/": ReferencePage.of(INDEX, _HTML, _PAGE),
    }


@get(
    ["/", "/docs", "/schema/openapi.json", "/schema/api.json"],
    guards=[guard_public],
    include_in_schema=False,
)
async def read_page(request: AnyRequest) -> Response[bytes]:
    """A document or a page; the front door answers 304 by its ETag."""
    page = pages()[request.scope["path"].rstrip("/") or "/"]
    return Response(page.body, media_type=page.media_type, headers=page.headers)


HANDLERS: list[Any] = [read_page]
