"""Files that a page offers: sent while they are read, as long as the session lasts."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from litestar.types import ASGIApp

from gateway.console.guards import require_session
from gateway.console.headers import page_headers
from gateway.console.view import View
from gateway.web.respond.csv import CSV_TYPE, file_named
from gateway.web.respond.download import Download


def session_download(
    view: View, name: str, media_type: str, chunks: AsyncGenerator[bytes]
) -> ASGIApp:
    """A file for the person of a session; it breaks off once the session has ended."""
    ending = "csv" if media_type == CSV_TYPE else "ndjson"
    slots = view.deps.slots
    answer = Download(
        media_type,
        _while_signed_in(view, chunks),
        view.context.exports,
        str(view.signed_in.id),
        lambda: slots.closing,
        headers={**page_headers(), **file_named(name, view.deps.clock.now(), ending)},
        bodiless=view.request.bodiless,
    )
    return cast("ASGIApp", answer)


async def _while_signed_in(view: View, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(chunks):
        async for chunk in chunks:
            await require_session(view)
            yield chunk
