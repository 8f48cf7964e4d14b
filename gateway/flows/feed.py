"""The feed of events, page by page or as it grows."""

from collections.abc import AsyncGenerator, Sequence
from uuid import UUID

from gateway.errors import BadRequest
from gateway.flows.deps import Deps
from gateway.flows.export import reading
from gateway.flows.waiters import Waiters
from gateway.store import feed
from gateway.store.feed import START, FeedEvent, FeedPage, Place
from gateway.store.job_filter import OUR_CLOCKS, time_of

_BATCH = 100
# Of the UUIDs that events have as ids. Those of jobs, 8, begin with the time of the job's own.
_VERSIONS = (7, 8)
# An event may be held back for as long as an older transaction is under way.
_SOON_SECONDS = 0.05
_LOOKS = 3

_Tenants = Sequence[UUID] | None


async def read_page(
    deps: Deps,
    tenants: _Tenants,
    after: Place,
    *,
    types: Sequence[str] = (),
    limit: int,
    samples: bool = False,
) -> FeedPage:
    """The next events of tenants, None for all; no types means all of them."""
    if tenants is not None and not tenants:  # to name no tenants would let all be seen
        return FeedPage([], after)
    async with reading(deps, tenants) as tx:
        return await feed.page(tx, tenants, after, types=types, limit=limit, samples=samples)


async def find_place(deps: Deps, tenants: _Tenants, event_id: UUID, field: str = "after") -> Place:
    """Where an event is in the feed; raises BadRequest naming the field.

    Where it is not kept any more, or not theirs, a place from which nothing later is missed; some of
    what came before it, since the job that it is about was accepted, is shown again.
    """
    if tenants is not None and not tenants:  # as above
        return START
    async with reading(deps, tenants) as tx:
        place = await feed.place_of(tx, tenants, event_id)
        if place is not None:
            return place
        since = time_of(event_id)
        if event_id.version not in _VERSIONS or since > deps.clock.now() + OUR_CLOCKS:
            reason = "is not the id of an event; start without it, or from one that the feed showed"
            raise BadRequest.of(field, reason)
        return await feed.place_since(tx, tenants, since - 2 * OUR_CLOCKS)


async def end_of_feed(deps: Deps) -> Place:
    """The place behind all that a reader could be shown now."""
    async with deps.db.single() as tx:
        return await feed.end(tx)


async def follow(
    deps: Deps,
    waiters: Waiters,
    tenants: _Tenants,
    place: Place,
    *,
    types: Sequence[str] = (),
    samples: bool = False,
    heartbeat: float,
) -> AsyncGenerator[Sequence[FeedEvent]]:
    """The feed behind a place as it grows, until the process stops.

    An empty sequence every `heartbeat` seconds in which nothing came.
    """
    looks = 0
    with waiters.following(tenants) as watch:
        while not deps.slots.closing:
            async with waiters.turn:
                found = await read_page(
                    deps, tenants, place, types=types, limit=_BATCH, samples=samples
                )
            place = found.end
            if found.events:
                looks = 0
                yield found.events
            elif looks < _LOOKS:
                looks += 1
                await deps.clock.sleep(_SOON_SECONDS)
            else:
                if not await watch.told(heartbeat):
                    yield ()
                looks = 0
