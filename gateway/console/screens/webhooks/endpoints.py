"""Endpoints: the list, with its filters in the URL."""

from datetime import datetime
from typing import Annotated

from litestar import Response, get
from msgspec import Meta, field, structs

from gateway.console.links import Cursor, Told, with_changes
from gateway.console.screens.webhooks.tenant_filter import chosen_tenant
from gateway.console.show.states import Pill
from gateway.console.view import View
from gateway.core.model import Endpoint, Scope
from gateway.core.text.cursor import encode_cursor
from gateway.flows.read.endpoints import (
    EndpointFilter,
    EndpointHealth,
    EndpointRow,
    endpoint_rows,
)
from gateway.web.context import Injected
from gateway.web.respond.paging import read_cursor
from gateway.web.schemas.requests import Choice, In

_SIZE = 50
_TOLD = {"deleted": "The endpoint is deleted. What was sent to it stays in the lists."}
_HEALTH: dict[EndpointHealth, str] = {"failing": "failing", "disabled": "disabled", "well": "well"}


class EndpointsView(In):
    """Which endpoints the list shows."""

    tenant: Choice = field(default_factory=list[str])
    health: EndpointHealth | None = None
    url: Annotated[str, Meta(max_length=200)] = ""
    cursor: Cursor = ""
    told: Told = ""


@get("/endpoints", opt={"scope": Scope.ENDPOINTS_READ})
async def show_endpoints(
    parameters: Injected[EndpointsView], view: Injected[View]
) -> Response[bytes]:
    """One page of endpoints, newest first."""
    tenant_id = await chosen_tenant(view, parameters.tenant)
    wanted = EndpointFilter(tenant_id, parameters.health, parameters.url)
    found = await endpoint_rows(view.deps, wanted, read_cursor(parameters.cursor).last, _SIZE + 1)
    page = found[:_SIZE]
    return view.page(
        "webhooks/endpoints.html",
        rows=[(one, health_pill(one), health_since(one)) for one in page],
        given=parameters,
        healths=[(word, name, with_changes(view, health=name)) for name, word in _HEALTH.items()],
        all_healths=with_changes(view, health=""),
        first=with_changes(view) if parameters.cursor else "",
        older=with_changes(view, cursor=encode_cursor(page[-1].id)) if len(found) > _SIZE else "",
        is_filtered=structs.replace(parameters, cursor="", told="") != EndpointsView(),
        told=_TOLD.get(parameters.told, ""),
    )


def health_pill(endpoint: EndpointRow | Endpoint) -> Pill:
    """The state of an endpoint."""
    if endpoint.disabled_at is not None:
        return Pill("bad", "disabled")
    return Pill("needs", "failing") if endpoint.failing_since else Pill("good", "well")


def health_since(endpoint: EndpointRow | Endpoint) -> datetime:
    """Since when it is in its state; one that is well, since it was made."""
    return endpoint.disabled_at or endpoint.failing_since or endpoint.created_at


HANDLERS = [show_endpoints]
