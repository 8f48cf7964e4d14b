"""The filters of the list of deliveries as they stand in its URL."""

from datetime import datetime
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
from gateway.web.schemas.requests import Choice, In
from gateway.web.schemas.timestamps import Instant, plain
from gateway.web.schemas.webhook_requests import (
    DeliveryStatus,
    DeliveryStatuses,
    EventName,
    EventNames,
    HttpStatuses,
    Ids,
    Outcome,
    Outcomes,
)


class DeliveriesView(In):
    """Which deliveries the list shows; names are those of `GET /v1/delivery`."""

    status: DeliveryStatuses = field(default_factory=list[DeliveryStatus])
    outcome: Outcomes = field(default_factory=list[Outcome])
    http_status: HttpStatuses = field(default_factory=list[int])
    event: EventNames = field(default_factory=list[EventName])
    endpoint: Ids = field(default_factory=list[UUID])
    job: Ids = field(default_factory=list[UUID])
    tenant: Choice = field(default_factory=list[str])
    callbacks: bool = False
    span: Span | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    cursor: Cursor = ""
    told: Told = ""


async def filter_of(view: View, given: DeliveriesView) -> DeliveryFilter | None:
    """The filter for what the session may see, None if it can select nothing; raises BadRequest."""
    tenant_id = await tenant_of(view, given.tenant, given.endpoint, given.job)
    if tenant_id is None:
        return None
    after, before = bounds(given.span, view.deps.clock.now())
    return DeliveryFilter(
        tenant_id,
        endpoints=tuple(given.endpoint),
        states=tuple(one.value for one in given.status),
        events=tuple(one.value for one in given.event),
        jobs=tuple(given.job),
        outcomes=tuple(one.value for one in given.outcome),
        created_after=_first(given.created_after, after),
        created_before=_first(given.created_before, before),
        statuses=tuple(given.http_status),
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


def _first(given: Instant | None, preset: datetime | None) -> datetime | None:
    return plain(given) if given else preset
