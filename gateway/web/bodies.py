"""Request bodies, whole and within the cap."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, cast

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
    body = await _in_time(_collect(receive, limit))
    if body is None:
        raise _too_large(limit)
    return body


async def _in_time(body: Coroutine[None, None, bytes | None]) -> bytes | None:
    """Like asyncio.timeout, which takes a twentieth of what accepting a job costs."""
    task, is_late = cast("asyncio.Task[Any]", asyncio.current_task()), False

    def cut() -> None:
        nonlocal is_late
        is_late = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(_READ_SECONDS, cut)
    try:
        return await body
    except asyncio.CancelledError:
        if is_late and task.uncancel() == 0:
            reason = f"The body did not arrive within {_READ_SECONDS:.0f} seconds."
            raise BadRequest(reason) from None
        raise
    finally:
        timer.cancel()


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
