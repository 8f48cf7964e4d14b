"""Links of lists to themselves: the same view with other filters, from its first page."""

from urllib.parse import parse_qsl, urlencode

from gateway.console.view import View

_OF_A_PAGE = frozenset({"cursor", "told"})


def link_with(view: View, **changes: str) -> str:
    """This view's URL with other values; an empty one takes a filter away."""
    query = view.request.query.decode("latin-1")
    gone = {*changes, *_OF_A_PAGE}
    kept = [pair for pair in parse_qsl(query) if pair[0] not in gone]
    pairs = [*kept, *((name, value) for name, value in changes.items() if value)]
    return f"{view.path}?{urlencode(pairs)}" if pairs else view.path
