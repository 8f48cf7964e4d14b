"""The documentation is complete: every route, field and audit action is on a page."""

import re
from collections.abc import Iterator
from pathlib import Path

from litestar import Router
from msgspec import Struct

from gateway.flows.admin.audit import ACTIONS
from gateway.web.route_table import OPEN, OPERATOR, TENANT, flat
from gateway.web.schemas.requests import In
from gateway.web.schemas.responses import Out

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)
CODE = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", TEXT, re.DOTALL))


def structs(root: type[Struct]) -> Iterator[type[Struct]]:
    for one in root.__subclasses__():
        yield one
        yield from structs(one)


def fields() -> set[str]:
    return {
        name
        for root in (Out, In)
        for one in structs(root)
        if one.__module__.startswith("gateway.web")
        for name in one.__struct_encode_fields__
    }


def routes() -> set[str]:
    """The method and path of each route, such as `GET /v1/job/{}`."""
    routers = [
        Router("/v1", route_handlers=flat(TENANT)),
        Router("/admin/v1", route_handlers=flat(OPERATOR)),
        Router("/", route_handlers=flat(OPEN)),
    ]
    return {
        f"{method} {re.sub(r'{[^}]*}', '{}', route.path)}"
        for router in routers
        for route in router.routes
        for method in getattr(route, "methods", ())
        # The keys are public under several paths; the one without a prefix is on the page.
        if method != "OPTIONS" and not re.match(r"/(v1|api)/\.well-known/", route.path)
    }


def test_every_route_is_on_a_page() -> None:
    written = re.sub(r"{[^}]*}", "{}", CODE)
    known = routes()
    assert len(known) > 50
    assert {
        one for one in known if not re.search(rf"{re.escape(one)}(?![\w/{{-])", written)
    } == set()


def test_every_field_is_on_a_page() -> None:
    missing = {name for name in fields() if not re.search(rf"\b{re.escape(name)}\b", CODE)}
    assert missing == set()


def test_every_audit_action_is_on_a_page() -> None:
    assert [action for action in ACTIONS if f"`{action}`" not in TEXT] == []
