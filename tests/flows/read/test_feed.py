"""The feed: read from an event on, or followed as it grows until the process stops."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from typing_extensions import override
from uuid_utils.compat import uuid7

from gateway.core.crypto.cipher import Cipher
from gateway.core.events import job_event_id
from gateway.core.model import Tenant
from gateway.core.policy import Policy
from gateway.core.text.cursor import encode_cursor, encode_sealed
from gateway.core.uuid7 import first_id
from gateway.errors import BadRequest
from gateway.flows.deps import Deps
from gateway.flows.process.slots import Slots
from gateway.flows.read.export import reading
from gateway.flows.read.feed import (
    end_of_feed,
    find_place,
    follow,
    mark_of,
    place_of_mark,
    read_page,
)
from gateway.flows.settle.watchers import Watch, Watchers, announce_feed
from gateway.store import feed
from gateway.store.database import Tx
from gateway.store.feed import LAST_ID, START, FeedEvent, FeedPage, FeedPosition
from tests.builders import add_event, put
from tests.flows.fakes import HeldClock
from tests.flows.world import World

_SECONDS = 30
_DAY = datetime(2024, 1, 1, tzinfo=UTC)


async def added(
    world: World, tenant: Tenant, count: int = 1, kind: str = "test.ping"
) -> list[UUID]:
    """Events that every reader may be shown: nothing on this server holds them back any more."""
    ids: list[UUID] = []
    for _ in range(count):
        async with world.deps.db.begin() as tx:
            ids.append(await add_event(tx, tenant.id, kind))
    await shown(world, ids[-1])
    return ids


async def shown(world: World, event_id: UUID) -> None:
    horizon = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    visible = f"SELECT xact < {horizon} FROM event WHERE id = $1"
    async with asyncio.timeout(_SECONDS):
        while not await world.value(visible, event_id):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


def ids_of(events: Sequence[FeedEvent]) -> list[UUID]:
    return [event.id for event in events]


async def read(
    world: World, tenants: Sequence[UUID] | None, after: UUID | None = None, limit: int = 9
) -> list[UUID]:
    """The ids of a page."""
    place = START if after is None else await find_place(world.deps, tenants, after)
    return ids_of((await read_page(world.deps, tenants, place, limit=limit)).events)


# --- Reading -------------------------------------------------------------------------------------


async def test_it_is_read_from_its_beginning_or_behind_an_event(world: World):
    acme, globex = [await world.tenant(slug, credential=False) for slug in ("acme", "globex")]
    ids = await added(world, acme, 3)
    (theirs,) = await added(world, globex)
    assert await read(world, [acme.id]) == ids
    assert await read(world, [acme.id], ids[0], limit=1) == [ids[1]]
    assert await read(world, None, ids[1]) == [ids[2], theirs]
    assert await read(world, [acme.id], ids[2]) == []
    found = await read_page(world.deps, None, START, types=["job.failed"], limit=9)
    assert found.events == []
    place = await find_place(world.deps, None, ids[0])
    assert await read_page(world.deps, [], place, limit=9) == FeedPage([], place)


async def test_row_level_security_binds_a_page_of_tenants_to_them(world: World):
    acme, globex = [await world.tenant(slug, credential=False) for slug in ("acme", "globex")]
    (mine,), (theirs,) = await added(world, acme), await added(world, globex)
    async with reading(world.deps.db, [acme.id]) as tx:
        # As if the statements were asked for the events of all.
        found = await feed.page(tx, None, START, types=(), limit=9, samples=False)
        assert [event.id for event in found.events] == [mine]
        assert await feed.place_of(tx, None, theirs) is None
    assert await read(world, [acme.id], theirs) == [mine], "it is found by its time only"
    assert await read(world, None) == [mine, theirs]


@asynccontextmanager
async def hidden_from_tenants(world: World) -> AsyncIterator[None]:
    """Hide all events from the role of tenants."""
    await world.rows(
        "CREATE POLICY hidden ON event AS RESTRICTIVE FOR SELECT TO gateway_tenant USING (false)"
    )
    try:
        yield
    finally:
        await world.rows("DROP POLICY hidden ON event")


async def test_a_page_of_tenants_is_read_in_their_role(world: World):
    tenant = await world.tenant(credential=False)
    ids = await added(world, tenant, 2)
    async with hidden_from_tenants(world):
        assert await read(world, [tenant.id]) == []
        assert await read(world, None) == ids


@pytest.mark.parametrize("field", ["after", "Last-Event-ID"])
async def test_an_id_that_no_event_can_have_is_refused(world: World, field: str):
    tenant = await world.tenant(credential=False)
    latest = UUID(int=(2**48 - 1) << 80 | 7 << 76 | 1 << 63)
    for event_id in (uuid4(), id_of(datetime(2199, 1, 1, tzinfo=UTC)), latest):
        with pytest.raises(BadRequest, match=f"{field}: is not the id of an event") as refused:
            await find_place(world.deps, [tenant.id], event_id, field)
        assert [fault.field for fault in refused.value.errors] == [field]


def id_of(at: datetime) -> UUID:
    return UUID(int=first_id(at).int | 7 << 76 | 1 << 63)


def id_at(minute: float) -> UUID:
    return id_of(_DAY + timedelta(minutes=minute))


async def stored(world: World, tenant: Tenant, minute: float, id_: UUID) -> UUID:
    """An event that was stored in that minute of a day that is over."""
    async with world.deps.db.begin() as tx:
        await add_event(tx, tenant.id, id=id_)
        await put(tx, "event", id_, created_at=_DAY + timedelta(minutes=minute))
    return id_


def ended(accepted: float) -> UUID:
    """The id of a job's event, which begins with the minute in which the job was accepted."""
    return job_event_id("job.succeeded", id_at(accepted))


async def test_behind_an_event_that_is_gone_nothing_is_missed(world: World):
    """Whether a tenant was erased or a time is over, a reader goes on; it may see some twice."""
    acme, globex = [await world.tenant(slug, credential=False) for slug in ("acme", "globex")]
    times = [(9, 11), (20, 21), (22, 30), (1, 31), (29, 32), (31, 33)]
    ids = [
        await stored(world, globex if end == 30 else acme, end, ended(accepted))
        for accepted, end in times
    ]
    await shown(world, ids[-1])
    gone = ids[2]
    assert await read(world, None, gone) == ids[3:]
    await world.value("DELETE FROM event WHERE id = $1 RETURNING 1", gone)

    assert await read(world, None, gone) == [ids[1], *ids[3:]]
    assert await read(world, [acme.id], gone) == [ids[1], *ids[3:]]
    assert await read(world, [globex.id], gone) == []
    assert await read(world, [], gone) == []

    await world.rows("DELETE FROM event WHERE id = ANY($1) RETURNING 1", ids[:4])
    assert await read(world, None, gone) == ids[4:], "all before it is gone"
    assert await read(world, None, id_at(50)) == [], "and nothing came since"


async def test_a_later_event_that_was_stored_by_an_earlier_transaction_is_not_missed(world: World):
    tenant = await world.tenant(credential=False)
    late, early = [await stored(world, tenant, at, id_at(at)) for at in (10.5, 10)]
    await shown(world, early)
    assert await read(world, [tenant.id], id_at(5)) == [late, early]


async def test_a_reader_at_an_event_that_is_gone_sees_events_that_were_held_back(world: World):
    tenant = await world.tenant(credential=False)
    async with world.deps.db.begin() as tx:
        coming = await add_event(tx, tenant.id)
        place = await find_place(world.deps, [tenant.id], uuid7())
    await shown(world, coming)
    assert ids_of((await read_page(world.deps, [tenant.id], place, limit=9)).events) == [coming]


async def test_an_event_is_held_back_while_an_older_transaction_is_open(world: World):
    tenant = await world.tenant(credential=False)
    (first,) = await added(world, tenant)
    async with world.deps.db.begin() as early:
        slow = await add_event(early, tenant.id)
        async with world.deps.db.begin() as tx:
            quick = await add_event(tx, tenant.id)
        assert await read(world, [tenant.id], first) == []
    await shown(world, quick)
    assert await read(world, [tenant.id], first) == [slow, quick]


# --- Following -----------------------------------------------------------------------------------


class _Noted(Watchers):
    """Waiters of whom it is known when one waits to be told."""

    def __init__(self, deps: Deps) -> None:
        super().__init__(deps)
        self.waits = asyncio.Event()

    @override
    @contextmanager
    def following(self, tenants: Sequence[UUID] | None) -> Generator[Watch]:
        async def wait(seconds: float) -> bool:
            self.waits.set()
            return await real(seconds)

        with super().following(tenants) as watch:
            real = watch.wait
            watch.wait = wait
            yield watch


class Follower:
    """One who follows the feed in a process of its own."""

    def __init__(self, world: World) -> None:
        self.clock = HeldClock()
        self.deps = replace(world.deps, clock=self.clock, slots=Slots(self.clock))
        self.waiters: Watchers = _Noted(self.deps)
        self.waits = self.waiters.waits
        self.deps.queue.listen(self.waiters.hear)

    @asynccontextmanager
    async def following(
        self,
        tenants: Sequence[UUID] | None,
        place: FeedPosition | None = None,
        *,
        types: Sequence[str] = (),
        heartbeat: float = 600.0,
    ) -> AsyncIterator[AsyncGenerator[Sequence[FeedEvent]]]:
        place = place or await end_of_feed(self.deps)
        feed = follow(self.deps, self.waiters, tenants, place, types=types, heartbeat=heartbeat)
        async with aclosing(feed):
            yield feed

    async def waiting(
        self, feed: AsyncGenerator[Sequence[FeedEvent]]
    ) -> "asyncio.Task[Sequence[FeedEvent] | None]":
        """Ask for more, and return once it waits to be told."""

        async def one() -> Sequence[FeedEvent] | None:
            return await anext(feed, None)

        self.waits.clear()
        task = asyncio.create_task(one())
        async with asyncio.timeout(_SECONDS):
            await self.waits.wait()
        await self.clock.held()
        await asyncio.sleep(0)
        assert not task.done()
        return task


async def heard(task: "asyncio.Task[Sequence[FeedEvent] | None]") -> list[UUID] | None:
    async with asyncio.timeout(_SECONDS):
        events = await task
    return None if events is None else ids_of(events)


async def test_an_announcement_wakes_followers(world: World):
    tenant, other = await world.tenant(credential=False), await world.tenant("b", credential=False)
    await added(world, tenant)
    process = Follower(world)
    async with process.following([tenant.id]) as feed:
        for _ in range(2):
            asking = await process.waiting(feed)
            await added(world, other)
            ids = await added(world, tenant, 2)
            announce_feed(world.deps, [other.id])
            assert not asking.done()
            announce_feed(world.deps, [tenant.id])
            assert await heard(asking) == ids


async def test_a_follower_first_gets_earlier_events_batch_by_batch(
    world: World,
):
    small = world.other_process(policy=Policy(feed_batch=2))
    tenant = await world.tenant(credential=False)
    ids = await added(world, tenant, 5)
    process = Follower(small)
    async with process.following(None, START) as feed:
        assert [ids_of(await anext(feed)) for _ in range(3)] == [ids[:2], ids[2:4], ids[4:]]
    place = await find_place(world.deps, None, ids[3])
    async with process.following(None, place) as feed:
        assert ids_of(await anext(feed)) == ids[4:]


async def test_types_that_nobody_asked_for_are_passed_over_once(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    places: list[FeedPosition] = []

    async def page(tx: Tx, tenants: Any, after: FeedPosition, **more: Any) -> FeedPage:
        places.append(after)
        return await real(tx, tenants, after, **more)

    real = feed.page
    monkeypatch.setattr(feed, "page", page)
    tenant = await world.tenant(credential=False)
    await added(world, tenant, 3)
    end = await end_of_feed(world.deps)
    process = Follower(world)
    async with process.following(None, START, types=["job.failed"]) as following:
        asking = await process.waiting(following)
        assert places[0] == START
        assert all(place >= end for place in places[1:])
        await added(world, tenant)
        ids = await added(world, tenant, kind="job.failed")
        announce_feed(world.deps, [tenant.id])
        assert await heard(asking) == ids


async def test_an_event_without_an_announcement_is_found_all_the_same(world: World):
    tenant = await world.tenant(credential=False)
    process = Follower(world)
    async with process.following(None) as feed:
        asking = await process.waiting(feed)
        ids = await added(world, tenant)
        for _ in range(7):
            await process.clock.let_go()
        await process.clock.held()
        assert not asking.done()
        await process.clock.let_go()
        assert await heard(asking) == ids
        world.queue.connected = False
        asking = await process.waiting(feed)
        ids = await added(world, tenant)
        await process.clock.let_go()
        assert await heard(asking) == ids


async def test_where_nothing_comes_there_is_a_heartbeat(world: World):
    tenant = await world.tenant(credential=False)
    process = Follower(world)
    async with process.following(None, heartbeat=0.0) as feed:
        assert [await anext(feed) for _ in range(3)] == [(), (), ()]
        ids = await added(world, tenant)
        assert ids_of(await anext(feed)) == ids
        assert await anext(feed) == ()


class _InVain(Watchers):
    """Nobody ever waits as long as it takes."""

    @override
    @contextmanager
    def following(self, tenants: Sequence[UUID] | None) -> Generator[Watch]:
        self.watch = _Impatient()
        yield self.watch


class _Impatient(Watch):
    @override
    async def wait(self, seconds: float) -> bool:
        self.asked = seconds
        return False


async def test_a_heartbeat_comes_as_often_as_was_asked_for(world: World):
    process = Follower(world)
    process.waiters = waiters = _InVain(process.deps)
    async with process.following(None, heartbeat=12.5) as feed:
        assert [await anext(feed) for _ in range(2)] == [(), ()]
    assert waiters.watch.asked == 12.5


async def test_many_followers_that_wake_leave_room_in_the_pool(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    busy = most = 0

    async def page(tx: Tx, *given: Any, **more: Any) -> FeedPage:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        found = await real(tx, *given, **more)
        busy -= 1
        return found

    real = feed.page
    monkeypatch.setattr(feed, "page", page)
    tenant = await world.tenant(credential=False)
    process = Follower(world)
    async with AsyncExitStack() as stack:
        feeds = [await stack.enter_async_context(process.following([tenant.id])) for _ in range(20)]
        asking = [asyncio.create_task(anext(one)) for one in feeds]
        await process.clock.held()
        ids = await added(world, tenant)
        announce_feed(world.deps, [tenant.id])
        async with asyncio.timeout(_SECONDS):
            assert [ids_of(await one) for one in asking] == [ids] * 20
    assert 1 < most < 5


async def test_it_ends_with_the_process(world: World):
    tenant = await world.tenant(credential=False)
    process = Follower(world)
    async with process.following(None) as feed:
        asking = await process.waiting(feed)
        process.deps.slots.closing = True
        await process.clock.let_go()
        assert await heard(asking) is None
    await added(world, tenant)
    async with process.following(None, START) as feed:
        assert await anext(feed, None) is None


# --- Marks --------------------------------------------------------------------------------------


async def test_a_mark_tells_nothing_of_others(world: World):
    place = FeedPosition(1_234_567 + (3 << 48), LAST_ID)
    first, second = mark_of(world.deps, place), mark_of(world.deps, place)
    assert first != second
    assert place_of_mark(world.deps, first) == place_of_mark(world.deps, second) == place
    for mark in (first, second):
        raw = base64.urlsafe_b64decode(mark + "==")
        assert place.xact.to_bytes(8) not in raw
        assert (place.xact & 0xFFFFFFFF).to_bytes(4) not in raw


async def test_a_mark_of_an_earlier_version_misses_nothing_and_measures_nothing(world: World):
    for xact in (0, 65_535, 65_536, 1_000_000):
        place = place_of_mark(world.deps, encode_cursor(UUID(int=xact)))
        assert place == FeedPosition(xact // 65_536 * 65_536, LAST_ID)


@pytest.mark.parametrize("case", ["made up", "changed", "other key", "too large", "no mark"])
async def test_a_mark_that_is_not_ours_is_refused(world: World, case: str):
    other = replace(world.deps, cipher=Cipher([b"o" * 32]))
    mark = mark_of(world.deps, FeedPosition(5, LAST_ID))
    texts = {
        "made up": encode_sealed(bytes(40)),
        "changed": mark[:-2] + ("AA" if mark[-2:] != "AA" else "BA"),
        "other key": mark_of(other, FeedPosition(5, LAST_ID)),
        "too large": encode_cursor(UUID(int=2**63)),
        "no mark": "x",
    }
    with pytest.raises(BadRequest, match="Last-Event-ID"):
        place_of_mark(world.deps, texts[case], "Last-Event-ID")
