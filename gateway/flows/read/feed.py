"""The event feed: read it page by page, or follow it as it grows.

It runs for callers that poll the feed or hold a stream open. Events come in one order for all
readers, and nothing is ever added before a position that was shown. A reader keeps its position, so
a crash loses nothing: it goes on from there at any process.
"""

from collections.abc import AsyncGenerator, Sequence
from uuid import UUID

from gateway.core.crypto.cipher import NONCE_BYTES, AssociatedData, CannotOpenError
from gateway.core.text.cursor import BadCursorError, decode_cursor, decode_sealed, encode_sealed
from gateway.core.uuid7 import time_of
from gateway.errors import BadRequest, NotFound
from gateway.flows.deps import Deps
from gateway.flows.read.export import reading
from gateway.flows.settle.watchers import Watchers
from gateway.store import feed
from gateway.store.feed import END, LAST_ID, START, EventHead, FeedEvent, FeedPage, FeedPosition
from gateway.store.job_search.filter import OUR_CLOCKS

# UUID versions of event ids. Events of jobs have version 8, which begins with the job's time.
_VERSIONS = (7, 8)
# An event is held back while an older transaction is open, so a follower looks again soon.
_SOON_SECONDS = 0.05
_LOOKS = 3
# Marks are sealed: a position counts the transactions of all tenants, which is not for a tenant.
_MARK = AssociatedData("feed", "", "mark")
_LARGEST = 2**63 - 1
# Marks of earlier versions were plain numbers. They are rounded down, so that made-up marks do not
# reveal the number of transactions; some events are shown again for it.
_COARSE = 2**16

# How many events a filter by type looks at: of one tenant, and of each tenant where there are more.
WINDOW_OF_ONE, WINDOW_OF_EACH = 5_000, 200

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
    """The next events of tenants, or of all for None; without `types`, events of all types."""
    if tenants is not None and not tenants:  # an empty list must not mean all tenants
        return FeedPage([], after)
    async with reading(deps.db, tenants) as tx:
        return await feed.page(tx, tenants, after, types=types, limit=limit, samples=samples)


async def newest_events(
    deps: Deps,
    tenants: _Tenants,
    before: FeedPosition = END,
    *,
    types: Sequence[str] = (),
    limit: int,
    samples: bool = False,
) -> Sequence[EventHead]:
    """The newest events before a position, newest first; a filter by type looks at a bounded number."""
    if tenants is not None and not tenants:  # as above
        return []
    is_one = tenants is not None and len(tenants) == 1
    window = (WINDOW_OF_ONE if is_one else WINDOW_OF_EACH) if types or not samples else limit
    async with reading(deps.db, tenants) as tx:
        return await feed.newest(
            tx, tenants, before, types=types, limit=limit, window=window, samples=samples
        )


async def find_event(deps: Deps, tenants: _Tenants, event_id: UUID) -> FeedEvent:
    """An event with its body, tests of endpoints included; raises NotFound."""
    found = None
    if tenants is None or tenants:  # as above
        async with reading(deps.db, tenants) as tx:
            found = await feed.find(tx, tenants, event_id)
    if found is None:
        raise NotFound("There is no such event, or it is not kept any more.")
    return found


async def find_place(
    deps: Deps, tenants: _Tenants, event_id: UUID, field: str = "after"
) -> FeedPosition:
    """The position of an event in the feed; raises BadRequest that names the field.

    If the event was pruned, or is another tenant's, it is a position from which no later event is
    missed. Some earlier events, since its job was accepted, are shown again.
    """
    if tenants is not None and not tenants:  # as above
        return START
    async with reading(deps.db, tenants) as tx:
        place = await feed.place_of(tx, tenants, event_id)
        if place is not None:
            return place
        since = time_of(event_id)
        if event_id.version not in _VERSIONS or since > deps.clock.now() + OUR_CLOCKS:
            reason = "is not the id of an event; start without it, or from one that the feed showed"
            raise BadRequest.of(field, reason)
        return await feed.place_since(tx, tenants, since - 2 * OUR_CLOCKS)


def mark_of(deps: Deps, place: FeedPosition) -> str:
    """A position as an opaque mark, for a reader that has seen no event."""
    plain = place.xact.to_bytes(8, signed=True)
    return encode_sealed(deps.cipher.seal(plain, _MARK, deps.ids.random_bytes(NONCE_BYTES)))


def place_of_mark(deps: Deps, text: str, field: str = "after") -> FeedPosition:
    """The position that a mark stands for; raises BadRequest that names the field."""
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
    """The position behind all events that a reader can be shown now."""
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
    """The events behind a position as they come, until the process stops.

    Yields an empty sequence after each `heartbeat` seconds without an event.
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
                if not await watch.wait(heartbeat):
                    yield ()
                looks = 0
