"""Keyset paging: one page of a list, and the header Link to the next."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from gateway.core.text.cursor import BadCursorError, PageCursor, decode_page, encode_page
from gateway.errors import BadRequest
from gateway.web.asgi.types import AnyRequest


class _Listed(Protocol):
    @property
    def id(self) -> UUID: ...


L = TypeVar("L", bound=_Listed)


def read_cursor(text: str, now: datetime | None = None) -> PageCursor:
    """The place that a cursor names, or the start of the list; raises BadRequest.

    `now` is the moment of the first page, None if cursors need none (Deps.page_began).
    """
    if not text:
        return PageCursor(None, now)
    try:
        found = decode_page(text)
    except BadCursorError:
        reason = "is not a cursor of this list; start without one and follow the header Link"
        raise BadRequest.of("cursor", reason) from None
    return PageCursor(found.last, found.began or now)


def one_page(
    request: AnyRequest, found: Sequence[L], size: int, began: datetime | None = None
) -> tuple[Sequence[L], dict[str, str]]:
    """The first `size` rows, and the header Link if there are more."""
    page = found[:size]
    return page, next_link(request, page[-1].id, began) if len(found) > size else {}


def next_link(request: AnyRequest, last: UUID, began: datetime | None) -> dict[str, str]:
    """The header Link to the page after an id, of a list whose first page was read then."""
    given = parse_qsl(request.scope["query_string"].decode(), keep_blank_values=True)
    kept = [(name, value) for name, value in given if name not in ("page", "cursor")]
    query = urlencode([*kept, ("cursor", encode_page(last, began))])
    # Relative, so that it holds behind a proxy that adds a path prefix.
    return {"Link": f'<?{query}>; rel="next"'}
