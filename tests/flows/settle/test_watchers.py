"""Waiters: woken by what is announced, by a comparison where nothing is heard, and at the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from gateway.errors import Unavailable
from gateway.flows.deliver.endpoints import disable_endpoint
from gateway.flows.process.slots import Slots
from gateway.flows.settle.watchers import JobWatch, Watchers, announce_feed, announce_jobs
from gateway.flows.upstream.delete_job import delete_job
from gateway.ports import Denied, UpstreamProblem
from gateway.store.database import Database, Tx, open_database
from tests.flows.fakes import HeldClock
from tests.flows.read.test_feed import added
from tests.flows.world import HOOK, World, async_url

_SECONDS = 30


class Process:
    """A process whose waiters look at the database only when the test says so."""

    def __init__(self, world: World, db: Database | None = None) -> None:
        self.clock = HeldClock()
        self.deps = replace(
            world.deps, clock=self.clock, slots=Slots(self.clock), db=db or world.deps.db
        )
        self.waiters = Watchers(self.deps)
        self.deps.queue.listen(self.waiters.hear)

    async def steps(self, count: int) -> None:
        """Let them look so many times; of eight times they ask once though they hear."""
        for _ in range(count):
            await self.clock.let_go()
        await self.clock.held()


async def given(task: "asyncio.Task[None]") -> None:
    """Fail if a waiter is not woken."""
    async with asyncio.timeout(_SECONDS):
        await task


def changed(watch: JobWatch, version: int) -> "asyncio.Task[None]":
    return asyncio.create_task(watch.changed(version, 600.0))


@pytest.fixture
def process(world: World) -> Process:
    return Process(world)


async def alone() -> None:
    """Wait until nothing but this test runs."""
    async with asyncio.timeout(_SECONDS):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


# --- Announcements -------------------------------------------------------------------------------


async def test_an_announcement_wakes_who_waits_for_the_job(world: World, process: Process):
    mine, other, third = uuid4(), uuid4(), uuid4()
    with (
        process.waiters.watching(mine) as watch,
        process.waiters.watching(mine) as twin,
        process.waiters.watching(other) as bystander,
    ):
        waiting = [changed(one, 1) for one in (watch, twin)]
        bystanding = changed(bystander, 1)
        await process.clock.held()
        for subject in ("tenant:acme", "*", "key:1"):
            world.queue.announce(subject)
        announce_jobs(world.deps, [])
        announce_feed(world.deps, [mine])
        assert not any(task.done() for task in (*waiting, bystanding))
        announce_jobs(world.deps, [third, mine, third])
        for task in waiting:
            await given(task)
        assert not bystanding.done()
        announce_jobs(world.deps, [other])
        await given(bystanding)
    assert world.queue.announced[-2:] == [f"jobs:{third},{mine}", f"jobs:{other}"]


async def test_a_change_between_the_reading_and_the_waiting_is_not_missed(
    world: World, process: Process
):
    job_id = uuid4()
    with process.waiters.watching(job_id) as watch:
        announce_jobs(world.deps, [job_id])
        await given(changed(watch, 1))
        # It was told once; from now on only what comes later counts.
        await watch.changed(2, 0.0)
        again = changed(watch, 2)
        await process.clock.held()
        assert not again.done()
        announce_jobs(world.deps, [job_id])
        await given(again)


@pytest.mark.parametrize("what", ["started", "ended", "deleted"])
async def test_what_the_flows_do_with_a_job_is_announced(world: World, process: Process, what: str):
    tenant = await world.tenant(hook=HOOK)
    (job_id,) = await world.at_upstream(tenant)
    with (
        process.waiters.watching(job_id) as watch,
        process.waiters.following([tenant.id]) as follower,
    ):
        version = (await world.job(job_id)).version
        waiting = changed(watch, version)
        await process.clock.held()
        if what == "deleted":
            await delete_job(world.deps, tenant.id, job_id)
        else:
            world.upstream.move("STARTED" if what == "started" else "SUCCEEDED")
            await world.poll()
        await given(waiting)
        assert (await world.job(job_id)).version > version
        assert await follower.wait(0.0)


@pytest.mark.parametrize("what", ["an endpoint", "a credential"])
async def test_what_befalls_is_announced_to_the_followers(
    world: World, process: Process, what: str
):
    tenant, other = await world.tenant(hook=HOOK), await world.tenant("other")
    endpoint_id = await world.value("SELECT id FROM endpoint")
    with (
        process.waiters.following([tenant.id]) as follower,
        process.waiters.following([other.id]) as bystander,
    ):
        if what == "an endpoint":
            await disable_endpoint(world.deps, tenant.id, endpoint_id)
        else:
            world.upstream.will("submit", Denied(401, UpstreamProblem("KEY", "Key", "not known")))
            await world.accept_one(tenant)
            await world.submit()
        assert await follower.wait(0.0)
        assert not await bystander.wait(0.0)


async def test_a_wait_ends_with_its_time(process: Process):
    with process.waiters.watching(uuid4()) as watch:
        await watch.changed(1, 0.0)
        assert watch.version == 1
    with process.waiters.following(None) as follower:
        assert not await follower.wait(0.0)


# --- The feed ------------------------------------------------------------------------------------


async def test_an_announcement_wakes_those_who_can_see_the_tenant(world: World, process: Process):
    mine, other, third = uuid4(), uuid4(), uuid4()
    sights = ([mine], [mine, other], None, [other], [])
    with ExitStack() as stack:
        watches = [stack.enter_context(process.waiters.following(sight)) for sight in sights]
        announce_jobs(world.deps, [mine])
        announce_feed(world.deps, [])
        assert [await watch.wait(0.0) for watch in watches] == [False] * 5
        announce_feed(world.deps, [third, mine, third])
        assert [await watch.wait(0.0) for watch in watches] == [True, True, True, False, False]
        waiting = [asyncio.create_task(watch.wait(600.0)) for watch in watches[:2]]
        await process.clock.held()
        assert not any(task.done() for task in waiting)
        announce_feed(world.deps, [other, mine])
        async with asyncio.timeout(_SECONDS):
            assert await asyncio.gather(*waiting) == [True, True]
    assert world.queue.announced[-2:] == [f"feed:{third},{mine}", f"feed:{other},{mine}"]


@pytest.mark.parametrize(("connected", "steps"), [(False, 1), (True, 8)])
async def test_who_hears_nothing_is_told_of_what_came(
    world: World, process: Process, connected: bool, steps: int
):
    world.queue.connected = connected
    mine, other = [await world.tenant(slug, credential=False) for slug in ("mine", "other")]
    with (
        process.waiters.following([mine.id]) as watch,
        process.waiters.following([other.id]) as bystander,
        process.waiters.following([]) as nobody,
    ):
        for _ in range(2):
            await added(world, mine)
            await process.steps(steps - 1)
            assert not watch.news.is_set()
            await process.clock.let_go()
            assert await watch.wait(_SECONDS)
        assert not bystander.news.is_set()
        assert not nobody.news.is_set()
        await process.steps(steps)
        assert not watch.news.is_set(), "it was told of that before"
        with process.waiters.following(None) as watch_of_all:
            await process.steps(steps)
            assert not watch_of_all.news.is_set()
            await added(world, other)
            await process.clock.let_go()
            await process.steps(steps - 1)
            assert await watch_of_all.wait(_SECONDS)
            assert await bystander.wait(_SECONDS)


async def test_who_comes_while_the_database_is_asked_is_told(world: World):
    world.queue.connected = False
    mine, other = [await world.tenant(slug, credential=False) for slug in ("mine", "other")]
    slow = _Slow(world.deps.db)
    process = Process(world, slow)
    with process.waiters.following([mine.id]) as asked:
        await process.clock.let_go()
        await slow.came.wait()
        with (
            process.waiters.following([other.id]) as late,
            process.waiters.following([mine.id]) as too,
        ):
            slow.go_on.set()
            await process.clock.held()
            assert late.news.is_set()
            assert not asked.news.is_set()
            assert not too.news.is_set()


class _Slow(Database):
    """A database that answers when it is told to."""

    def __init__(self, db: Database) -> None:
        super().__init__(db._engine, db._connector)
        self.came, self.go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def single(self) -> AsyncIterator[Tx]:
        self.came.set()
        await self.go_on.wait()
        async with super().single() as tx:
            yield tx


# --- Comparison ----------------------------------------------------------------------------------


@asynccontextmanager
async def watched(
    world: World, process: Process
) -> AsyncIterator[tuple[UUID, "asyncio.Task[None]"]]:
    """A job and one who waits for it."""
    job_id = await world.accept_one(await world.tenant())
    with process.waiters.watching(job_id) as watch:
        waiting = changed(watch, (await world.job(job_id)).version)
        await process.clock.held()
        yield job_id, waiting


@pytest.mark.parametrize(
    "change", ["version = version + 1", "deleted_at = now()"], ids=["changed", "deleted"]
)
async def test_where_nothing_is_heard_the_database_is_asked(
    world: World, process: Process, change: str
):
    world.queue.connected = False
    async with watched(world, process) as (job_id, waiting):
        await process.steps(3)
        assert not waiting.done(), "it has not changed"
        await world.run(f"UPDATE job SET {change} WHERE id = $1", job_id)
        await process.clock.let_go()
        await given(waiting)


async def test_now_and_then_the_database_is_asked_though_much_is_heard(
    world: World, process: Process
):
    async with watched(world, process) as (job_id, waiting):
        await world.run("UPDATE job SET version = version + 1 WHERE id = $1", job_id)
        await process.steps(7)
        assert not waiting.done()
        await process.clock.let_go()
        await given(waiting)


async def test_all_who_wait_are_asked_for_in_one_question(world: World, process: Process):
    world.queue.connected = False
    tenant = await world.tenant()
    ids = await world.accept(tenant, 5)
    async with _all_watched(process, ids) as tasks:
        await world.run("UPDATE job SET version = version + 1 WHERE id = ANY($1)", ids[:2])
        await process.steps(1)
        for task in tasks[:2]:
            await given(task)
        assert [task.done() for task in tasks] == [True, True, False, False, False]


@asynccontextmanager
async def _all_watched(
    process: Process, ids: list[UUID]
) -> AsyncIterator[list["asyncio.Task[None]"]]:
    async def wait(job_id: UUID) -> None:
        with process.waiters.watching(job_id) as watch:
            await watch.changed(1, 600.0)

    tasks = [asyncio.create_task(wait(job_id)) for job_id in ids]
    await process.clock.held()
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class _Away(Database):
    """A database that cannot be reached the first time."""

    asked = 0

    def __init__(self, db: Database) -> None:
        super().__init__(db._engine, db._connector)

    @asynccontextmanager
    async def single(self) -> AsyncIterator[Tx]:
        self.asked += 1
        if self.asked == 1:
            raise Unavailable("away", retry_after=1)
        async with super().single() as tx:
            yield tx


async def test_a_database_that_is_away_is_asked_again(world: World, database_url: str):
    world.queue.connected = False
    away = _Away(open_database(async_url(database_url), pool=1, name="away"))
    process = Process(world, away)
    async with watched(world, process) as (job_id, waiting):
        await world.run("UPDATE job SET version = version + 1 WHERE id = $1", job_id)
        await process.steps(1)
        assert (away.asked, waiting.done()) == (1, False)
        await process.clock.let_go()
        await given(waiting)
    await away.close()


# --- The end -------------------------------------------------------------------------------------


async def test_none_is_left_behind_at_the_end(world: World, process: Process):
    async def wait(job_id: UUID) -> None:
        with process.waiters.watching(job_id) as watch:
            await watch.changed(1, 600.0)

    async def follow(tenants: list[UUID] | None) -> bool:
        with process.waiters.following(tenants) as watch:
            return await watch.wait(600.0)

    waiting = [asyncio.create_task(wait(uuid4())) for _ in range(200)]
    sights = [None, [uuid4()], [uuid4(), uuid4()], []]
    following = [asyncio.create_task(follow(sight)) for sight in sights]
    await process.clock.held()
    await asyncio.sleep(0)
    assert not any(task.done() for task in (*waiting, *following))
    process.deps.slots.closing = True
    await process.clock.let_go()
    async with asyncio.timeout(_SECONDS):
        await asyncio.gather(*waiting)
        assert await asyncio.gather(*following) == [True] * 4
    await process.clock.let_go()
    await alone()
    assert process.clock.sleepers == []


async def test_who_goes_away_is_not_waited_for(process: Process):
    with process.waiters.watching(uuid4()):
        await process.clock.held()
    await process.clock.let_go()
    await alone()
    with process.waiters.watching(uuid4()):
        await process.clock.held()
    await process.clock.let_go()
    await alone()
