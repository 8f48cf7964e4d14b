"""Watchers: long polls that wait for a job to change, and streams that wait for the feed to grow.

Processes announce changes over Redis; an announcement wakes the watchers of that job or tenant, who
then read the database. While Redis is away, the database is asked four times a second, for all
watchers in one query; otherwise every two seconds, in case an announcement was lost.
"""

import asyncio
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar
from uuid import UUID

from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.flows.settle.batched_reads import BatchedReads
from gateway.store import feed
from gateway.store.feed import START
from gateway.store.work import jobs

_JOBS, _FEED = "jobs:", "feed:"
_STEP_SECONDS = 0.25
# While Redis works, the database is asked every so many steps.
_STEPS = 8
# Followers of the feed share so many connections, so many woken at once leave some to others.
_FOLLOWING_AT_ONCE = 3

# The key of followers without any tenant: they too must hear that the process stops.
_NOBODY = UUID(int=0)

K = TypeVar("K")
W = TypeVar("W", bound="Watch")


def announce_jobs(deps: Deps, job_ids: Iterable[UUID]) -> None:
    """Tell every process that jobs have changed."""
    _announce(deps, _JOBS, job_ids)


def announce_feed(deps: Deps, tenant_ids: Iterable[UUID]) -> None:
    """Tell every process that there are new events of tenants."""
    _announce(deps, _FEED, tenant_ids)


def _announce(deps: Deps, kind: str, ids: Iterable[UUID]) -> None:
    names = ",".join(dict.fromkeys(map(str, ids)))
    if names:
        deps.queue.announce(kind + names)


class Watch:
    """One waiter."""

    def __init__(self) -> None:
        self.news = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Wait until there may be news, at most so many seconds; False when there is none.

        News since the last wait counts, so nothing is missed while its reader was busy.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.news.wait()
        except TimeoutError:
            return False
        self.news.clear()
        return True


class JobWatch(Watch):
    """One waiter for a job; `version` is the last version that it has seen."""

    version = -1

    async def changed(self, version: int, seconds: float) -> None:
        """Wait until the job may have a version other than this, at most so many seconds."""
        self.version = version
        await self.wait(seconds)


class Watchers:
    """The watchers of one process.

    `reads` batches the reads of woken long polls; `turn` limits the reads of followers.
    """

    def __init__(self, deps: Deps) -> None:
        self.reads = BatchedReads(deps)
        self.turn = asyncio.Semaphore(_FOLLOWING_AT_ONCE)
        self._deps = deps
        self._jobs: defaultdict[UUID, set[JobWatch]] = defaultdict(set)
        # By tenant; None follows the feeds of all.
        self._followers: defaultdict[UUID | None, set[Watch]] = defaultdict(set)
        self._horizon = START.xact
        self._watching: asyncio.Task[None] | None = None

    def hear(self, subject: str) -> None:
        """Take an announcement."""
        if subject.startswith(_JOBS):
            _notify(self._jobs, map(UUID, subject.removeprefix(_JOBS).split(",")))
        elif subject.startswith(_FEED):
            grown = map(UUID, subject.removeprefix(_FEED).split(","))
            _notify(self._followers, [*grown, None])

    @contextmanager
    def watching(self, job_id: UUID) -> Generator[JobWatch]:
        """Watch a job within the block."""
        with self._among(self._jobs, [job_id], JobWatch()) as watch:
            yield watch

    @contextmanager
    def following(self, tenants: Sequence[UUID] | None) -> Generator[Watch]:
        """Watch the feeds of tenants within the block; None means all tenants."""
        keys = [None] if tenants is None else tenants or [_NOBODY]
        with self._among(self._followers, keys, Watch()) as watch:
            yield watch

    @contextmanager
    def _among(self, waiting: defaultdict[K, set[W]], keys: Sequence[K], watch: W) -> Generator[W]:
        for key in keys:
            waiting[key].add(watch)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._look())
        try:
            yield watch
        finally:
            for key in keys:
                waiting[key].discard(watch)
                if not waiting[key]:
                    del waiting[key]

    async def _look(self) -> None:
        step = 0
        while self._jobs or self._followers:
            await self._deps.clock.sleep(_STEP_SECONDS)
            step += 1
            if self._deps.slots.closing:
                _notify(self._jobs, self._jobs)
                _notify(self._followers, self._followers)
            elif not self._deps.queue.connected or step % _STEPS == 0:
                with suppress(Unavailable):  # the next step asks again
                    _notify(self._jobs, await self._changed())
                    _notify(self._followers, await self._grown())

    async def _changed(self) -> list[UUID]:
        watched = {job_id: list(watches) for job_id, watches in self._jobs.items()}
        if not watched:
            return []
        async with self._deps.db.single() as tx:
            now = await jobs.versions(tx, list(watched))
        return [
            job_id
            for job_id, watches in watched.items()
            if any(watch.version != now.get(job_id) for watch in watches)
        ]

    async def _grown(self) -> set[UUID | None]:
        asked = set(self._followers)
        if not asked:
            return asked
        tenants = None if None in asked else [tenant for tenant in asked if tenant is not None]
        async with self._deps.db.single() as tx:
            self._horizon, grown = await feed.grown(tx, tenants, self._horizon)
        # Followers that came during the query may have read at an earlier horizon.
        came = self._followers.keys() - asked
        return {*grown, *came, *([None] if grown else [])}


def _notify(waiting: defaultdict[K, set[W]], keys: Iterable[K]) -> None:
    for key in list(keys):
        for watch in waiting.get(key, ()):
            watch.news.set()
