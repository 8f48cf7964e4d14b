"""The feed of events, page by page or as it grows."""

from collections.abc import AsyncGenerator, Sequence
from uuid import UUID

from gateway.core.cipher import NONCE_BYTES, AssociatedData, CannotOpenError
from gateway.core.cursor import BadCursorError, decode_cursor, decode_sealed, encode_sealed
from gateway.core.uuid7 import time_of
from gateway.errors import BadRequest
from gateway.flows.deps import Deps
from gateway.flows.read.export import reading
from gateway.flows.settle.watchers import Watchers
from gateway.store import feed
from gateway.store.feed import LAST_ID, START, FeedEvent, FeedPage, FeedPosition
from gateway.store.job_search.filter import OUR_CLOCKS

# Of the UUIDs that events have as ids. Those of jobs, 8, begin with the time of the job's own.
_VERSIONS = (7, 8)
# An event may be held back for as long as an older transaction is under way.
_SOON_SECONDS = 0.05
_LOOKS = 3
# Marks are sealed: a place in the feed tells how many transactions there were, which others caused.
_MARK = AssociatedData("feed", "", "mark")
_LARGEST = 2**63 - 1
# Marks of earlier versions were plain. Those are read coarsely, so that nobody can find out by made-up
# ones between which transactions an event of his own lies; what came shortly before is shown again.
_COARSE = 2**16

_Tenants = Sequence[UUID] | None


async def read_page(
    deps: Deps,
    tenants: _Tenants,
    after: FeedPosition,
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


async def find_place(
    deps: Deps, tenants: _Tenants, event_id: UUID, field: str = "after"
) -> FeedPosition:
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


def mark_of(deps: Deps, place: FeedPosition) -> str:
    """A place that is behind no event, as a reader keeps it."""
    plain = place.xact.to_bytes(8, signed=True)
    return encode_sealed(deps.cipher.seal(plain, _MARK, deps.ids.random_bytes(NONCE_BYTES)))


def place_of_mark(deps: Deps, text: str, field: str = "after") -> FeedPosition:
    """The place that a mark stands for; raises BadRequest naming the field."""
    try:
        sealed = decode_sealed(text)
        if sealed is not None:
            return FeedPosition(
                int.from_bytes(deps.cipher.open(sealed, _MARK), signed=True), LAST_ID
            )
        number = decode_cursor(text).int
    except (BadCursorError, CannotOpenError):
        number = -1
    if not 0 <= number <= _LARGEST:
        reason = "is not the id of an event; start without it, or from one that the feed showed"
        raise BadRequest.of(field, reason)
    return FeedPosition(number // _COARSE * _COARSE, LAST_ID)


async def end_of_feed(deps: Deps) -> FeedPosition:
    """The place behind all that a reader could be shown now."""
    async with deps.db.single() as tx:
        return await feed.end(tx)


async def follow(
    deps: Deps,
    waiters: Watchers,
    tenants: _Tenants,
    place: FeedPosition,
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
                    deps, tenants, place, types=types, limit=deps.policy.feed_batch, samples=samples
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
