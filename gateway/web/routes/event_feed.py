"""The feed of events: as pages, and as a stream."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from litestar import Response, get, post
from litestar.types import ASGIApp

from gateway.core.model import Scope, Tenant
from gateway.flows.deliver.sample import sample_to_feed
from gateway.flows.deps import Deps
from gateway.flows.read.feed import (
    end_of_feed,
    find_place,
    follow,
    mark_of,
    place_of_mark,
    read_page,
)
from gateway.store.feed import LAST_ID, START, FeedEvent, FeedPage, FeedPosition
from gateway.web.asgi.request_context import Caller
from gateway.web.context import AnyRequest, Context, Injected, request_context_of
from gateway.web.respond.raw_response import JSON
from gateway.web.respond.sse import HEARTBEAT_SECONDS, EventStream
from gateway.web.routes.jobs.list_jobs import visible_tenants
from gateway.web.schemas.responses import EventOut, SampleMade, described
from gateway.web.schemas.webhook_requests import FeedQuery, SampleIn, StreamQuery

_RETRY_MS = 2_000
_READ = {"scope": Scope.JOBS_READ, "across": True}
_STREAM = {**_READ, "headers": ("Last-Event-ID",)}

_Tenants = tuple[UUID, ...] | None


@get(
    "/event",
    opt=_READ,
    responses=described(list[EventOut]),
    operation_id="listEvents",
    summary="Read the feed of events, oldest first",
)
async def list_events(
    parameters: Injected[FeedQuery],
    caller: Injected[Caller],
    context: Injected[Context],
    request: AnyRequest,
) -> Response[bytes]:
    """A bare array; with `wait` this is a long poll, which is empty only if no event came in time.

    Later events always come after those shown, so continue with `after` and the last id. The header
    Link names the next page whenever this one is full: it has `size` events, or 8 MB.
    """
    deps = context.deps
    visible = await visible_tenants(deps, caller, parameters.tenant)
    place = await _place(deps, visible, "after", parameters.after) or START
    found = await _page(deps, visible, place, parameters)
    wait = min(parameters.wait, context.limits.max_wait_seconds)
    if not found.events and wait:
        async with context.long_requests.within(caller):
            if await _grows(context, visible, place, parameters, wait):
                found = await _page(deps, visible, place, parameters)
    headers = {"Link": _next_link(request, found.events[-1].id)} if found.more else {}
    body = f"[{','.join(map(event_json, found.events))}]"
    return Response(body.encode(), media_type=JSON, headers=headers)


@get(
    "/event/stream",
    opt=_STREAM,
    responses=described(str, "Events", "text/event-stream"),
    operation_id="streamEvents",
    summary="Follow the feed of events as server-sent events",
)
async def stream_events(
    parameters: Injected[StreamQuery],
    caller: Injected[Caller],
    context: Injected[Context],
    request: AnyRequest,
) -> ASGIApp:
    """Starts after the event that Last-Event-ID or `after` names; by default it starts now."""
    deps, request_context = context.deps, request_context_of(request)
    visible = await visible_tenants(deps, caller, parameters.tenant)
    last = request_context.header(b"last-event-id")
    field, given = ("Last-Event-ID", last) if last else ("after", parameters.after)
    place = await _place(deps, visible, field, given)
    answer = EventStream(
        context.streams,
        str(caller.tenant.id if caller.tenant else caller.key.key_id),
        _frames(context, visible, place or await end_of_feed(deps), parameters),
        lambda: context.long_requests.within(caller),
        lambda: deps.slots.closing,
        bodiless=request_context.bodiless,
    )
    return cast("ASGIApp", answer)


@post(
    "/event/test",
    opt={"scope": Scope.ENDPOINTS_WRITE, "or_scopes": (Scope.SUPPORT,)},
    status_code=200,
    operation_id="createSampleEvent",
    summary="Create a sample event in the feed",
)
async def create_sample_event(
    payload: Injected[SampleIn], tenant: Injected[Tenant], deps: Injected[Deps]
) -> SampleMade:
    """Only readers with `samples=true` see it; no endpoint receives it."""
    return SampleMade(str(await sample_to_feed(deps, tenant, payload.type)), payload.type)


def event_json(event: FeedEvent) -> str:
    """An event as the feed shows it; type, timestamp and data are the bytes stored with it."""
    head, _, data = event.body.partition(',"data":')
    job_id = "null" if event.job_id is None else f'"{event.job_id}"'
    more = f'"tenant":"{event.tenant}","jobId":{job_id}'
    return f'{{"id":"{event.id}",{head[1:]},{more},"data":{data}'


async def _page(
    deps: Deps, visible: _Tenants, place: FeedPosition, parameters: FeedQuery
) -> FeedPage:
    return await read_page(
        deps,
        visible,
        place,
        types=parameters.type,
        limit=parameters.size,
        samples=parameters.samples,
    )


async def _grows(
    context: Context, visible: _Tenants, place: FeedPosition, parameters: FeedQuery, wait: float
) -> bool:
    """Whether an event comes after the position within `wait` seconds."""
    growing = follow(
        context.deps,
        context.watchers,
        visible,
        place,
        types=parameters.type,
        samples=parameters.samples,
        heartbeat=wait,
    )
    async with aclosing(growing):
        try:
            async with asyncio.timeout(wait):
                return bool(await anext(growing, None))
        except TimeoutError:
            return False


async def _frames(
    context: Context, visible: _Tenants, place: FeedPosition, parameters: StreamQuery
) -> AsyncGenerator[bytes]:
    # The first id is a mark: a reader that reconnects before its first event then misses none.
    mark = mark_of(context.deps, place) if place.id == LAST_ID else place.id
    yield f"retry: {_RETRY_MS}\nid: {mark}\n\n".encode()
    growing = follow(
        context.deps,
        context.watchers,
        visible,
        place,
        types=parameters.type,
        samples=parameters.samples,
        heartbeat=HEARTBEAT_SECONDS,
    )
    async with aclosing(growing):
        async for events in growing:
            for event in events:
                yield _frame(event)


def _frame(event: FeedEvent) -> bytes:
    # Params are stored as they were sent, so there may be line breaks between their tokens.
    line = event_json(event).replace("\r", " ").replace("\n", " ")
    return f"id: {event.id}\nevent: {event.type}\ndata: {line}\n\n".encode()


async def _place(deps: Deps, visible: _Tenants, field: str, given: str) -> FeedPosition | None:
    """The position of an event or a mark; None if none is given. Raises BadRequest."""
    if not given:
        return None
    try:
        event_id = UUID(given)
    except ValueError:
        return place_of_mark(deps, given, field)
    return await find_place(deps, visible, event_id, field)


def _next_link(request: AnyRequest, last: UUID) -> str:
    given: list[tuple[str, Any]] = parse_qsl(
        request.scope["query_string"].decode(), keep_blank_values=True
    )
    query = urlencode([*(pair for pair in given if pair[0] != "after"), ("after", last)])
    return f'<?{query}>; rel="next"'


HANDLERS = [list_events, stream_events, create_sample_event]
