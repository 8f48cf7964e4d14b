"""Request bodies, whole and within the cap."""

import asyncio
from collections.abc import Mapping

from gateway.errors import BadRequest, PayloadTooLarge
from gateway.web.asgi import Receive, Scope

_READ_SECONDS = 30.0
# Read beyond the cap and thrown away, so that a caller who only sends still hears the answer.
_DISCARD_BYTES = 64 * 1024 * 1024
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


class ClientGoneError(Exception):
    """The caller went away before its request was whole."""


async def read_all(
    scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, limit: int
) -> bytes:
    """The body; raises PayloadTooLarge, ClientGoneError, and BadRequest when it comes too slowly.

    A length that the headers declare is only believed where it is far over the limit.
    """
    if scope["method"] in _BODILESS:
        return b""
    length = headers.get(b"content-length", b"")
    declared = int(length[:18]) if length.isdigit() else 0
    if declared > _DISCARD_BYTES or (declared > limit and b"expect" in headers):
        raise _too_large(limit)
    try:
        async with asyncio.timeout(_READ_SECONDS):
            body = await _collect(receive, limit)
    except TimeoutError:
        raise BadRequest(f"The body did not arrive within {_READ_SECONDS:.0f} seconds.") from None
    if body is None:
        raise _too_large(limit)
    return body


async def _collect(receive: Receive, limit: int) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    while size <= _DISCARD_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        if not message.get("more_body", False):
            break
    return b"".join(chunks) if size <= limit else None


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The body is larger than {limit} bytes. Upload files by GET /upload and send their URLs."
    )
