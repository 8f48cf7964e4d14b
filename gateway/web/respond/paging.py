"""Keyset paging: one page of a list, and the header Link to the next."""

from collections.abc import Sequence
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from gateway.core.text.cursor import BadCursorError, decode_cursor, encode_cursor
from gateway.errors import BadRequest
from gateway.web.asgi.types import AnyRequest


class _Listed(Protocol):
    @property
    def id(self) -> UUID: ...


L = TypeVar("L", bound=_Listed)


def read_cursor(text: str) -> UUID | None:
    """The id in a cursor, None without a cursor; raises BadRequest."""
    if not text:
        return None
    try:
        return decode_cursor(text)
    except BadCursorError:
        reason = "is not a cursor of this list; start without one and follow the header Link"
        raise BadRequest.of("cursor", reason) from None


def one_page(
    request: AnyRequest, found: Sequence[L], size: int
) -> tuple[Sequence[L], dict[str, str]]:
    """The first `size` rows, and the header Link if there are more."""
    page = found[:size]
    return page, next_link(request, page[-1].id) if len(found) > size else {}


def next_link(request: AnyRequest, last: UUID) -> dict[str, str]:
    """The header Link to the page after an id."""
    given = parse_qsl(request.scope["query_string"].decode(), keep_blank_values=True)
    kept = [(name, value) for name, value in given if name not in ("page", "cursor")]
    query = urlencode([*kept, ("cursor", encode_cursor(last))])
    # Relative, so that it holds behind a proxy that adds a path prefix.
    return {"Link": f'<?{query}>; rel="next"'}
