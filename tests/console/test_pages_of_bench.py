"""The bench asks for every page of the console: a new screen is measured, too."""

import re
from uuid import UUID

from litestar.handlers import HTTPRouteHandler

from gateway.console import router
from tests.bench.sections.pages import paths_of_all, paths_of_largest
from tests.bench.sections.pages_data import Examples

# Files as long as the history, and what is no page of somebody who is signed in.
_LEFT_OUT = frozenset({"/jobs/export", "/tenants/{slug:str}/export"})
_NOBODY = UUID(int=1)


def test_no_page_is_left_out() -> None:
    examples = Examples(*[_NOBODY] * 7)  # type: ignore[arg-type]
    asked = {*paths_of_all().values(), *paths_of_largest(examples).values()}
    paths = {path.partition("?")[0] or "/" for path in asked}
    handlers: list[HTTPRouteHandler] = router._STAFF  # pyright: ignore[reportPrivateUsage]
    pages = {
        path for handler in handlers if "GET" in handler.http_methods for path in handler.paths
    }
    assert len(pages) > 25
    missing = {
        page
        for page in pages - _LEFT_OUT
        if not any(re.fullmatch(re.sub(r"{[^}]+}", "[^/]+", page), path) for path in paths)
    }
    assert missing == set()
