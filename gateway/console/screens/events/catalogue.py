"""Event types: when each is sent, its schema and an example, and which endpoints take it."""

from collections.abc import Sequence

from litestar import Response, get
from msgspec import field

from gateway.console.links import EVENTS, with_changes
from gateway.console.screens.webhooks.endpoints import health_pill
from gateway.console.screens.webhooks.tenant_filter import chosen_tenant
from gateway.console.view import View
from gateway.core.events import JOB_SUCCEEDED
from gateway.core.model import Endpoint, Scope
from gateway.flows.deliver.endpoints import list_endpoints
from gateway.web.context import Injected
from gateway.web.openapi.catalogue import event_catalogue
from gateway.web.schemas.requests import Choice, In
from gateway.web.schemas.webhook_requests import EventName

_MOST_ENDPOINTS = 100


class EventTypesView(In):
    """The type that is shown, and the tenant whose endpoints are."""

    type: EventName = EventName(JOB_SUCCEEDED)
    tenant: Choice = field(default_factory=list[str])


@get("/events", opt={"scope": Scope.ENDPOINTS_READ})
async def show_event_types(
    parameters: Injected[EventTypesView], view: Injected[View]
) -> Response[bytes]:
    """All types, and one of them in full."""
    tenant_id = await chosen_tenant(view, parameters.tenant)
    known: Sequence[Endpoint] = []
    if tenant_id is not None:
        known = await list_endpoints(view.deps, tenant_id, None, _MOST_ENDPOINTS + 1)
    catalogue = event_catalogue()
    return view.page(
        "events/catalogue.html",
        kinds=[(one, with_changes(view, type=one.type)) for one in catalogue],
        shown=next(one for one in catalogue if one.type == parameters.type),
        takers=[
            (one, health_pill(one))
            for one in known[:_MOST_ENDPOINTS]
            if not one.events or parameters.type in one.events
        ],
        has_tenant=tenant_id is not None,
        has_more=len(known) > _MOST_ENDPOINTS,
        most=_MOST_ENDPOINTS,
        given=parameters,
        path=view.at(EVENTS),
    )


HANDLERS = [show_event_types]
