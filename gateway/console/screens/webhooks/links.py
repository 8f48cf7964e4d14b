"""Paths of the screens about webhooks, and links to a view with other filters."""

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from msgspec import Meta

from gateway.console.view import HOME, View

DELIVERIES = f"{HOME}/deliveries"
ENDPOINTS = f"{HOME}/endpoints"
SIGNATURE = f"{HOME}/signature"
DEAD_LETTERS = f"{HOME}/dead-letters"
BULK = f"{HOME}/bulk"
# Of a page with others before it, and of what was just done.
_OF_ONE_PAGE = ("cursor", "told")

Cursor = Annotated[str, Meta(max_length=100)]
Told = Annotated[str, Meta(max_length=20)]


def with_changes(view: View, **changes: str) -> str:
    """This view's URL with other values of its query; an empty one drops the field. It starts at the first page."""
    gone = {*changes, *_OF_ONE_PAGE}
    query = view.request.query.decode("latin-1")
    kept = [pair for pair in parse_qsl(query) if pair[0] not in gone]
    pairs = [*kept, *((name, value) for name, value in changes.items() if value)]
    return link(view.path, *pairs)


def link(path: str, *pairs: tuple[str, str], **query: str) -> str:
    """A path with a query; fields without a value are left out."""
    filled = [(name, value) for name, value in (*pairs, *query.items()) if value]
    return f"{path}?{urlencode(filled)}" if filled else path
