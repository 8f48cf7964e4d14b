"""Paths of the screens below their home, and links to a view with other filters."""

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from msgspec import Meta

from gateway.console.view import View

JOBS = "/jobs"
DELIVERIES = "/deliveries"
ENDPOINTS = "/endpoints"
EVENTS = "/events"
FEED = "/feed"
SIGNATURE = "/signature"
DEAD_LETTERS = "/dead-letters"
BULK = "/bulk"
USAGE = "/usage"
QUEUES = "/queues"
TENANTS = "/tenants"
ACCOUNT = "/account"
# Of a page with others before it, and of what was just done.
_OF_ONE_PAGE = ("cursor", "told")

Cursor = Annotated[str, Meta(max_length=100)]
Told = Annotated[str, Meta(max_length=20)]


def with_changes(view: View, path: str = "", /, **changes: str) -> str:
    """This view's URL, or another path, with other values of its query; an empty one drops the field.

    It starts at the first page.
    """
    pairs = [
        *pairs_of(view, *changes),
        *((name, value) for name, value in changes.items() if value),
    ]
    return link(path or view.path, *pairs)


def pairs_of(view: View, *without: str) -> list[tuple[str, str]]:
    """The fields of this view's query, but not those of one page, and not these."""
    gone = {*without, *_OF_ONE_PAGE}
    return [pair for pair in parse_qsl(view.request.query.decode("latin-1")) if pair[0] not in gone]


def link(path: str, *pairs: tuple[str, str], **query: str) -> str:
    """A path with a query; fields without a value are left out."""
    filled = [(name, value) for name, value in (*pairs, *query.items()) if value]
    return f"{path}?{urlencode(filled)}" if filled else path
