"""Deliveries: the list, with its filters in the URL."""

from collections.abc import Sequence
from typing import NamedTuple

from litestar import Response, get

from gateway.console.links import with_changes
from gateway.console.screens.job_filters import SPANS
from gateway.console.screens.webhooks.delivery_filters import (
    DeliveriesView,
    filter_of,
    is_filtered,
)
from gateway.console.view import View
from gateway.core.model import Delivery, Scope
from gateway.core.text.cursor import encode_page
from gateway.flows.admin.tenants import tenant_slugs
from gateway.flows.read.deliveries import list_deliveries
from gateway.web.context import Injected
from gateway.web.respond.paging import read_cursor
from gateway.web.schemas.webhook_requests import EventName, Outcome

_SIZE = 50
# The states with their words, in the order of their urgency.
STATES = {
    "exhausted": "dead letter",
    "parked": "parked",
    "pending": "pending",
    "delivered": "delivered",
}


class DeliveryRow(NamedTuple):
    """A delivery with the name of its tenant."""

    delivery: Delivery
    tenant: str


@get("/deliveries", opt={"scope": Scope.ENDPOINTS_READ})
async def show_deliveries(
    parameters: Injected[DeliveriesView], view: Injected[View]
) -> Response[bytes]:
    """One page of deliveries, newest first."""
    wanted = await filter_of(view, parameters)
    cursor = read_cursor(parameters.cursor, view.deps.page_began())
    found: Sequence[Delivery] = []
    if wanted is not None:
        found = await list_deliveries(view.deps, wanted, cursor, _SIZE + 1)
    page = found[:_SIZE]
    slugs = await tenant_slugs(view.deps, {one.tenant_id for one in page})
    return view.page(
        "webhooks/deliveries.html",
        rows=[DeliveryRow(one, slugs.get(one.tenant_id, "")) for one in page],
        given=parameters,
        states=[(word, state, with_changes(view, status=state)) for state, word in STATES.items()],
        spans=[(span, word, with_changes(view, span=span)) for span, word in SPANS.items()],
        all_states=with_changes(view, status=""),
        all_times=with_changes(view, span=""),
        outcomes=[one.value for one in Outcome],
        events=[one.value for one in EventName],
        first=with_changes(view) if parameters.cursor else "",
        older=with_changes(view, cursor=encode_page(page[-1].id, cursor.began))
        if len(found) > _SIZE
        else "",
        is_filtered=is_filtered(parameters),
    )


async def slug_of(view: View, delivery: Delivery) -> str:
    """The name of a delivery's tenant; the names are kept in memory."""
    return (await view.context.identities.tenant_by_id(delivery.tenant_id)).tenant.slug


HANDLERS = [show_deliveries]
