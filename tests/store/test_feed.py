"""The feed: whatever the order of commits, no event comes before one that was shown."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest

from gateway.store import feed
from gateway.store.database import Database, Tx
from gateway.store.feed import END, LAST_ID, START, FeedEvent, FeedPage, FeedPosition
from gateway.store.work import restore_detection
from tests.builders import add_event, add_tenant
from tests.store.blocking import until

_SECONDS = 30


async def page(
    db: Database,
    tenants: Sequence[UUID] | None,
    after: FeedPosition = START,
    *,
    types: Sequence[str] = (),
    limit: int = 100,
) -> list[FeedEvent]:
    return list((await whole_page(db, tenants, after, types=types, limit=limit)).events)


async def whole_page(
    db: Database,
    tenants: Sequence[UUID] | None,
    after: FeedPosition = START,
    *,
    types: Sequence[str] = (),
    limit: int = 100,
    most: int = 8_000_000,
) -> FeedPage:
    async with db.single() as tx:
        return await feed.page(tx, tenants, after, types=types, limit=limit, most=most)


async def shown(
    db: Database, tenants: Sequence[UUID] | None, after: FeedPosition = START, *, count: int
) -> list[UUID]:
    """The ids of `count` events, once no transaction of another test on this server holds them back."""
    async with asyncio.timeout(_SECONDS):
        while len(found := await page(db, tenants, after)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # nothing signals the end of other transactions
    return [event.id for event in found]


async def tenant_of(db: Database) -> UUID:
    async with db.begin() as tx:
        return await add_tenant(tx, credential=False)


async def added(db: Database, tenant: UUID, count: int = 1, kind: str = "test.ping") -> list[UUID]:
    """Add events, each in a transaction of its own."""
    ids: list[UUID] = []
    for _ in range(count):
        async with db.begin() as tx:
            ids.append(await add_event(tx, tenant, kind))
    return ids


async def newest(
    db: Database,
    tenants: Sequence[UUID] | None,
    before: FeedPosition = END,
    *,
    types: Sequence[str] = (),
    limit: int = 100,
    window: int = 1000,
    samples: bool = False,
) -> list[UUID]:
    async with db.single() as tx:
        found = await feed.newest(
            tx, tenants, before, types=types, limit=limit, window=window, samples=samples
        )
    return [event.id for event in found]


async def end_of(db: Database) -> FeedPosition:
    async with db.single() as tx:
        return await feed.end(tx)


async def place_of(
    db: Database, tenants: Sequence[UUID] | None, event_id: UUID
) -> FeedPosition | None:
    async with db.single() as tx:
        return await feed.place_of(tx, tenants, event_id)


# --- Newest first -------------------------------------------------------------------------------


async def test_the_newest_events_are_the_feed_from_its_end(db: Database) -> None:
    tenants = [await tenant_of(db) for _ in range(3)]
    made = [(await added(db, tenants[n % 3]))[0] for n in range(12)]
    assert await shown(db, tenants, count=12) == made
    assert await newest(db, tenants) == made[::-1]
    assert await newest(db, tenants, limit=2) == [made[11], made[10]]
    assert await newest(db, tenants[:1]) == [made[n] for n in (9, 6, 3, 0)]
    place = await place_of(db, tenants, made[7])
    assert place is not None
    assert await newest(db, tenants, place, limit=3) == [made[6], made[5], made[4]]


async def test_the_newest_events_of_a_type_are_among_those_that_it_looks_at(db: Database) -> None:
    tenant = await tenant_of(db)
    (rare,) = await added(db, tenant, kind="job.failed")
    await added(db, tenant, 3)
    await shown(db, [tenant], count=4)
    assert await newest(db, [tenant], types=["job.failed"]) == [rare]
    assert await newest(db, [tenant], types=["job.failed"], window=3) == []


async def test_the_newest_events_leave_out_what_a_follower_is_not_shown_yet(db: Database) -> None:
    tenant = await tenant_of(db)
    (first,) = await added(db, tenant)
    await shown(db, [tenant], count=1)
    async with db.begin() as early:
        await add_event(early, tenant)
        await added(db, tenant)
        assert await newest(db, [tenant]) == [first]


# --- Order of commits ----------------------------------------------------------------------------


async def test_a_later_commit_comes_later_even_if_it_began_earlier(db: Database) -> None:
    tenant = await tenant_of(db)
    (first,) = await added(db, tenant)
    assert await shown(db, [tenant], count=1) == [first]
    cursor = await place_of(db, [tenant], first)
    assert cursor is not None
    async with db.begin() as early:
        slow = await add_event(early, tenant)
        (quick,) = await added(db, tenant)
        assert await page(db, [tenant], cursor) == [], "the slow one would come in front of it"
        from_now_on = await end_of(db)
    assert await shown(db, [tenant], cursor, count=2) == [slow, quick]
    assert await shown(db, [tenant], from_now_on, count=2) == [slow, quick]


async def test_a_rolled_back_transaction_holds_back_no_event_for_good(db: Database) -> None:
    tenant, quick = await tenant_of(db), list[UUID]()

    async def change_its_mind() -> None:
        async with db.begin() as early:
            await add_event(early, tenant)
            quick.extend(await added(db, tenant))
            raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        await change_its_mind()
    assert await shown(db, [tenant], count=1) == quick


@pytest.mark.parametrize("seed", [3, 4, 5])
async def test_a_reader_sees_each_event_once_in_any_order_of_commits(
    db: Database, seed: int
) -> None:
    chance, tenant = random.Random(seed), await tenant_of(db)
    seen, made, cursor = list[UUID](), set[UUID](), START
    open_ones = list[tuple[AsyncExitStack, Tx]]()
    for step in range(60):
        act = chance.random()
        if act < 0.3 and len(open_ones) < 4 and step < 50:
            stack = AsyncExitStack()
            open_ones.append((stack, await stack.enter_async_context(db.begin())))
        elif act < 0.6 and open_ones:
            made.add(await add_event(chance.choice(open_ones)[1], tenant))
        elif act < 0.8 and open_ones:
            stack, _ = open_ones.pop(chance.randrange(len(open_ones)))
            await stack.aclose()
        else:
            found = await page(db, [tenant], cursor, limit=2)
            seen += [event.id for event in found]
            cursor = found[-1].place if found else cursor
    for stack, _ in open_ones:
        await stack.aclose()
    seen += await shown(db, [tenant], cursor, count=len(made) - len(seen))
    assert made
    assert len(seen) == len(set(seen))
    assert set(seen) == made
    assert await shown(db, [tenant], count=len(made)) == seen


async def test_a_position_behind_events_of_other_types_misses_nothing(db: Database) -> None:
    tenant, other = await tenant_of(db), await tenant_of(db)
    await added(db, tenant, 3)
    await shown(db, [tenant], count=3)
    async with db.begin() as early:
        rare = await add_event(early, tenant, "job.failed")
        (common,) = await added(db, tenant)
        passed = await whole_page(db, [tenant], types=["job.failed"])
        assert passed.events == []
        (first, *_) = await page(db, [tenant])
        assert first.place < passed.end
    assert await shown(db, [tenant], passed.end, count=2) == [rare, common]
    found = await whole_page(db, [tenant], passed.end, types=["job.failed"], limit=2)
    assert [event.id for event in found.events] == [rare]
    assert await place_of(db, [tenant], common) < found.end  # pyright: ignore[reportOptionalOperand]
    assert (await whole_page(db, [tenant], found.end)).events == []
    assert (await whole_page(db, [other], passed.end)).end >= found.end
    full = await whole_page(db, [tenant], limit=1)
    assert full.end == full.events[-1].place
    far = FeedPosition(2**62, LAST_ID)
    assert (await whole_page(db, [tenant], far)).end == far, "it never goes back"


# --- Pages ---------------------------------------------------------------------------------------


async def test_a_page_continues_after_a_position(db: Database) -> None:
    tenant = await tenant_of(db)
    ids = await added(db, tenant, 5)
    await shown(db, [tenant], count=5)
    cursor, pages = START, list[list[UUID]]()
    while found := await page(db, [tenant], cursor, limit=2):
        pages.append([event.id for event in found])
        cursor = found[-1].place
    assert pages == [ids[:2], ids[2:4], ids[4:]]


async def test_a_position_can_be_between_events_of_one_transaction(db: Database) -> None:
    tenant = await tenant_of(db)
    async with db.begin() as tx:
        ids = sorted([await add_event(tx, tenant, id=uuid4()) for _ in range(4)])
    assert await shown(db, [tenant], count=4) == ids
    second = await place_of(db, [tenant], ids[1])
    assert second is not None
    assert await shown(db, [tenant], second, count=2) == ids[2:]


async def test_an_event_is_shown_with_its_stored_body(db: Database) -> None:
    tenant, job_id = await tenant_of(db), uuid4()
    body = '{"type":"job.failed","data":{ "n": 1.50 }}'
    async with db.begin() as tx:
        id_ = await add_event(tx, tenant, "job.failed", job_id=job_id, body=body)
    await shown(db, [tenant], count=1)
    (event,) = await page(db, [tenant])
    assert (event.id, event.tenant_id, event.type, event.job_id) == (
        id_,
        tenant,
        "job.failed",
        job_id,
    )
    assert (event.tenant, event.body) == (f"t-{tenant.hex}", body)
    assert event.place == await place_of(db, None, id_)


async def test_only_the_asked_types_are_shown(db: Database) -> None:
    tenant = await tenant_of(db)
    kinds = ["test.ping", "job.started", "job.failed", "test.ping"]
    ids = [(await added(db, tenant, 1, kind))[0] for kind in kinds]
    await shown(db, [tenant], count=4)
    found = await page(db, [tenant], types=["test.ping", "job.failed"])
    assert [event.id for event in found] == [ids[0], ids[2], ids[3]]
    found = await page(db, [tenant], types=["test.ping"], limit=1)
    assert [event.id for event in found] == ids[:1]
    assert await page(db, [tenant], types=["job.deleted"]) == []


async def test_several_tenants_are_one_feed(db: Database) -> None:
    a, b, c = [await tenant_of(db) for _ in range(3)]
    ids = [(await added(db, tenant))[0] for tenant in (a, b, c, a, c, b)]
    assert await shown(db, None, count=6) == ids
    assert await shown(db, [a, c], count=4) == [ids[0], ids[2], ids[3], ids[4]]
    assert [event.id for event in await page(db, [a, c], limit=3)] == [ids[0], ids[2], ids[3]]
    assert [event.tenant_id for event in await page(db, None, limit=2)] == [a, b]
    assert await page(db, []) == []
    assert await page(db, [uuid4()]) == []


async def test_only_who_may_read_an_event_gets_its_position(db: Database) -> None:
    mine, other = await tenant_of(db), await tenant_of(db)
    ids = await added(db, mine, 2)
    places = [await place_of(db, [mine], id_) for id_ in ids]
    assert None not in places
    assert places == sorted(places)  # pyright: ignore[reportArgumentType]
    assert await place_of(db, None, ids[0]) == await place_of(db, [other, mine], ids[0])
    assert await place_of(db, [other], ids[0]) is None
    assert await place_of(db, [], ids[0]) is None
    assert await place_of(db, None, uuid4()) is None


async def test_the_end_is_after_all_earlier_and_before_all_later_events(
    db: Database,
) -> None:
    tenant = await tenant_of(db)
    await added(db, tenant, 2)
    await shown(db, [tenant], count=2)
    end = await end_of(db)
    assert await page(db, [tenant], end) == []
    (later,) = await added(db, tenant)
    assert await shown(db, [tenant], end, count=1) == [later]


async def test_tenants_with_new_events_are_found(db: Database) -> None:
    a, b, c = [await tenant_of(db) for _ in range(3)]
    await added(db, a)
    await shown(db, [a], count=1)

    async def grown(tenants: Sequence[UUID] | None, since: int) -> tuple[int, set[UUID]]:
        async with db.single() as tx:
            horizon, ids = await feed.grown(tx, tenants, since)
        return horizon, set(ids)

    horizon, ids = await grown(None, START.xact)
    assert ids == {a}
    assert (await grown([b, c], START.xact))[1] == set()
    assert (await grown(None, horizon))[1] == set()
    async with db.begin() as early:
        await add_event(early, b)
        await added(db, c)
        held, ids = await grown(None, horizon)
        assert ids == set(), "nobody is shown them yet"
    await shown(db, [b, c], count=2)
    assert (await grown(None, held))[1] == {b, c}
    assert (await grown([a, b], held))[1] == {b}


# --- Moves to another cluster -------------------------------------------------------------------

_FAR = 10**9


async def moved(db: Database, tenant: UUID) -> list[UUID]:
    """Add events as a restore does: from a cluster with much higher transaction ids."""
    ids = await added(db, tenant, 2)
    async with db.begin() as tx:
        for number, id_ in enumerate(ids):
            await tx.run("UPDATE event SET xact = $2 WHERE id = $1", id_, _FAR + number)
        await tx.run("UPDATE beacon SET horizon = $1", _FAR + 50)
    return ids


async def begin_epoch(db: Database) -> int:
    async with db.begin() as tx:
        return await feed.begin_epoch(tx, None)


async def test_after_a_move_to_another_cluster_no_event_is_missed(
    db: Database,
) -> None:
    tenant = await tenant_of(db)
    old = await moved(db, tenant)
    new = await added(db, tenant, 2)
    assert await shown(db, [tenant], count=4) == [*old, *new]
    # A reader that had read everything there, by the last event or by a mark, continues here.
    for place in (FeedPosition(_FAR + 1, old[-1]), FeedPosition(_FAR + 70, LAST_ID)):
        assert await shown(db, [tenant], place, count=2) == new
    mark = await end_of(db)
    assert await begin_epoch(db) == 0
    later = await added(db, tenant, 1)
    assert await shown(db, [tenant], count=5) == [*old, *new, *later]
    assert await shown(db, [tenant], mark, count=1) == later
    assert mark < await end_of(db)


async def test_events_stored_before_a_move_is_noticed_come_after_the_moved_ones(
    db: Database,
) -> None:
    tenant = await tenant_of(db)
    restored = await added(db, tenant, 1)
    async with db.begin() as tx:  # a restore writes everything in one transaction
        await tx.run("UPDATE event SET xact = xact WHERE id = $1", restored[0])
        await tx.run("UPDATE beacon SET horizon = 1")
    # A position behind events that the backup does not have.
    lost = FeedPosition((await end_of(db)).xact + 500, LAST_ID)
    here = await added(db, tenant, 2)
    assert await page(db, [tenant], lost) == []
    assert await begin_epoch(db) == 2
    assert await shown(db, [tenant], lost, count=2) == here
    assert await shown(db, [tenant], count=3) == [*restored, *here]


async def test_the_beat_that_notices_a_move_hides_no_event_from_it(db: Database) -> None:
    """The kept horizon is of the old cluster, and lower: a beat here must not raise it before it is used."""
    tenant = await tenant_of(db)
    async with db.begin() as tx:
        await tx.run("UPDATE beacon SET horizon = 1, cluster = 1")
    lost = FeedPosition((await end_of(db)).xact + 500, LAST_ID)
    here = await added(db, tenant, 2)
    async with db.begin() as tx:
        cluster = await restore_detection.cluster_of(tx)
        assert await restore_detection.has_moved(tx, cluster)
        await restore_detection.beat(tx, cluster)
    async with db.begin() as tx:
        assert await restore_detection.has_moved(tx, cluster)
        assert await feed.begin_epoch(tx, cluster) == 2
    assert await shown(db, [tenant], lost, count=2) == here
    async with db.begin() as tx:  # from now on it is kept up again
        await restore_detection.beat(tx, cluster)
        assert (await tx.one("SELECT horizon > 1 FROM beacon"))[0]


async def test_a_new_epoch_waits_for_open_writers_and_blocks_new_ones(db: Database) -> None:
    tenant = await tenant_of(db)
    async with db.begin() as tx:
        await tx.run("UPDATE beacon SET horizon = 1")
        first = await add_event(tx, tenant)
        beginning = asyncio.create_task(begin_epoch(db))
        waits = (
            "SELECT count(*) = $1 FROM pg_locks WHERE NOT granted AND relation = 'event'::regclass"
        )
        await until(db, waits, 1)
        coming = asyncio.create_task(added(db, tenant))
        await until(db, waits, 2)
        before = await end_of(db)
    assert await beginning == 1
    assert await shown(db, [tenant], before, count=2) == [first, *await coming]
    places = [event.xact >> 48 for event in await page(db, [tenant])]
    assert places == [1, 1]


# --- Size of a page -----------------------------------------------------------------------------


async def test_a_page_of_large_events_ends_early(db: Database) -> None:
    tenant = await tenant_of(db)
    ids = await added(db, tenant, 5)
    await shown(db, [tenant], count=5)
    body = len((await page(db, [tenant]))[0].body)
    first = await whole_page(db, [tenant], most=2 * body)
    second = await whole_page(db, [tenant], first.end, most=2 * body)
    third = await whole_page(db, [tenant], second.end, most=2 * body)
    found = [[event.id for event in one.events] for one in (first, second, third)]
    assert found == [ids[:2], ids[2:4], ids[4:]]
    assert [one.more for one in (first, second, third)] == [True, True, False]
