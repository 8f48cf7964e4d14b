"""Feed: the newest events as they come, one event with its JSON, and where a reader goes on."""

from typing import Literal
from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath
from msgspec import field

from gateway.console.links import with_changes
from gateway.console.screens.webhooks.tenant_filter import chosen_tenant
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.flows.read.feed import (
    WINDOW_OF_EACH,
    WINDOW_OF_ONE,
    find_event,
    find_place,
    newest_events,
)
from gateway.store.feed import END
from gateway.web.context import Injected
from gateway.web.routes.event_feed import event_json
from gateway.web.schemas.requests import Choice, In
from gateway.web.schemas.webhook_requests import EventName, EventNames

_SIZE = 50
_READS = {"scope": Scope.JOBS_READ}


class FeedView(In):
    """Which events are shown, from which one back, and whether the list follows the feed."""

    type: EventNames = field(default_factory=list[EventName])
    tenant: Choice = field(default_factory=list[str])
    samples: bool = False
    live: Literal["on", "off"] = "on"
    before: UUID | None = None


@get("/feed", opt=_READS)
async def show_feed(parameters: Injected[FeedView], view: Injected[View]) -> Response[bytes]:
    """The newest events, newest first."""
    tenant_id = await chosen_tenant(view, parameters.tenant)
    tenants = None if tenant_id is None else (tenant_id,)
    before = END
    if parameters.before is not None:
        before = await find_place(view.deps, tenants, parameters.before, "before")
    found = await newest_events(
        view.deps,
        tenants,
        before,
        types=parameters.type,
        limit=_SIZE + 1,
        samples=parameters.samples,
    )
    page = found[:_SIZE]
    return view.page(
        "events/feed.html",
        rows=page,
        given=parameters,
        is_live=parameters.live == "on" and parameters.before is None,
        switch=with_changes(view, live="" if parameters.live == "off" else "off", before=""),
        kinds=[(one.value, with_changes(view, type=one.value, before="")) for one in EventName],
        all_kinds=with_changes(view, type="", before=""),
        with_samples=with_changes(view, samples="" if parameters.samples else "true", before=""),
        newest="" if parameters.before is None else with_changes(view, before=""),
        older=with_changes(view, before=str(page[-1].id)) if len(found) > _SIZE else "",
        is_filtered=bool(parameters.type or parameters.tenant),
        looked_at=WINDOW_OF_EACH if tenants is None else WINDOW_OF_ONE,
    )


@get("/feed/{event_id:uuid}", opt=_READS)
async def show_event(event_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """One event, as the feed has it."""
    own = view.signed_in.tenant
    event = await find_event(view.deps, None if own is None else (own.id,), event_id)
    return view.page("events/event.html", event=event, text=event_json(event))


HANDLERS = [show_feed, show_event]
