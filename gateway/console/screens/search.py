"""Search: from an id or a name of any kind to its page."""

from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import urlencode

from litestar import Response, get
from msgspec import Meta

from gateway.console.links import DELIVERIES, JOBS, TENANTS
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.flows.read.search import LONGEST, Hit, SearchScope
from gateway.flows.read.search import search as find
from gateway.web.context import Injected
from gateway.web.schemas.requests import In

# Where each kind of thing is shown.
_PLACES: Mapping[str, Callable[[Hit], str]] = {
    "job": lambda hit: f"{JOBS}/{hit.id}",
    "delivery": lambda hit: f"{DELIVERIES}/{hit.id}",
    "batch": lambda hit: _jobs(tenant=hit.tenant, batchName=hit.id),
    "tenant": lambda hit: f"{TENANTS}/{hit.id}",
}


class SearchView(In):
    """What is looked for."""

    q: Annotated[str, Meta(max_length=LONGEST)] = ""


@get("/search", opt={"scope": Scope.JOBS_READ})
async def show_search(parameters: Injected[SearchView], view: Injected[View]) -> Response[bytes]:
    """Go to the only hit, or list what was found."""
    text = parameters.q.strip()
    own = view.signed_in.tenant
    scope = SearchScope(
        tenants=(own.id,) if own else None,
        webhooks=view.may(Scope.ENDPOINTS_READ),
        every_tenant=own is None,
    )
    found = await find(view.deps, text, scope)
    hits = [(hit, view.at(_PLACES[hit.kind](hit)) if hit.kind in _PLACES else "") for hit in found]
    if len(hits) == 1 and hits[0][1]:
        return view.go(hits[0][1])
    return view.page("search.html", q=text, hits=hits)


def _jobs(**query: str) -> str:
    return f"{JOBS}?{urlencode(query)}"


HANDLERS = [show_search]
