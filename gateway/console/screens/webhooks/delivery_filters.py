"""The filters of the list of deliveries as they stand in its URL."""

from dataclasses import replace
from uuid import UUID

from msgspec import field, structs

from gateway.console.links import Cursor, Told
from gateway.console.screens.job_filters import Span, bounds
from gateway.console.screens.webhooks.tenant_filter import chosen_tenant
from gateway.console.view import View
from gateway.errors import NotFound
from gateway.flows.deliver.endpoints import find_endpoint_owner
from gateway.flows.read.jobs import find_owner
from gateway.store.delivery_search.filter import ALL_TENANTS, DeliveryFilter
from gateway.web.schemas.requests import Choice
from gateway.web.schemas.webhook_requests import DeliverySelection


class DeliveriesView(DeliverySelection):
    """Which deliveries the list shows; names are those of `GET /v1/delivery`."""

    tenant: Choice = field(default_factory=list[str])
    callbacks: bool = False
    span: Span | None = None
    cursor: Cursor = ""
    told: Told = ""


async def filter_of(view: View, given: DeliveriesView) -> DeliveryFilter | None:
    """The filter for what the session may see, None if it can select nothing; raises BadRequest."""
    tenant_id = await tenant_of(view, given.tenant, given.endpoint, given.job)
    if tenant_id is None:
        return None
    wanted = given.of_tenant(tenant_id)
    after, before = bounds(given.span, view.deps.clock.now())
    return replace(
        wanted,
        created_after=wanted.created_after or after,
        created_before=wanted.created_before or before,
        callbacks=given.callbacks,
    )


async def tenant_of(
    view: View, slugs: list[str], endpoints: list[UUID], jobs: list[UUID]
) -> UUID | None:
    """The tenant that a filter is about: the session's own, the one named, or the owner of what is named.

    ALL_TENANTS without any, None if there is no such endpoint or job. Raises BadRequest, NotFound.
    """
    tenant_id = await chosen_tenant(view, slugs)
    if tenant_id is not None:
        return tenant_id
    try:
        if endpoints:
            return await find_endpoint_owner(view.deps, endpoints[0], None)
        if jobs:
            return await find_owner(view.deps, jobs[0], None)
    except NotFound:
        return None
    return ALL_TENANTS


def is_filtered(given: DeliveriesView) -> bool:
    """Whether anything is chosen but the page."""
    return structs.replace(given, cursor="", told="") != DeliveriesView()
