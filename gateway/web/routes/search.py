"""GET /search: what a text is the id or the name of."""

from litestar import get

from gateway.core.model import Scope
from gateway.flows.deps import Deps
from gateway.flows.read.search import SearchScope, search
from gateway.web.asgi.request_context import Caller
from gateway.web.context import Injected
from gateway.web.routes.jobs.list_jobs import visible_tenants
from gateway.web.schemas.session_requests import SearchQuery
from gateway.web.schemas.session_responses import HitOut


@get(
    "/search",
    opt={"scope": Scope.JOBS_READ, "or_scopes": (Scope.ENDPOINTS_READ,), "across": True},
    operation_id="search",
    summary="Find things by an id or a name",
)
async def search_tenant(
    parameters: Injected[SearchQuery], caller: Injected[Caller], deps: Injected[Deps]
) -> list[HitOut]:
    """At most twenty hits: jobs and batches with `jobs:read`, events and deliveries with `endpoints:read`."""
    scope = SearchScope(
        await visible_tenants(deps, caller, ()),
        jobs=Scope.JOBS_READ in caller.key.scopes,
        webhooks=Scope.ENDPOINTS_READ in caller.key.scopes,
    )
    return [HitOut.of(hit) for hit in await search(deps, parameters.q, scope)]


@get(
    "/search",
    operation_id="searchAll",
    summary="Find things of all tenants by an id or a name",
)
async def search_all(parameters: Injected[SearchQuery], deps: Injected[Deps]) -> list[HitOut]:
    """At most twenty hits; tenants too, by the beginning of their slug."""
    found = await search(deps, parameters.q, SearchScope(None, every_tenant=True))
    return [HitOut.of(hit) for hit in found]


HANDLERS = [search_tenant]
OPERATOR_HANDLERS = [search_all]
