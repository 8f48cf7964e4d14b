"""Find jobs by their marker (`metadata.gatewayJobId`) in the upstream's list, however long it is.

Used to reconcile jobs in doubt and to delete jobs whose submit had no clear outcome. A list that is
sorted by creation is searched by bisection for the time in which the upstream can have taken the
jobs, and only those pages are read. An unsorted list is read from its first page to its last. Both may
take several rounds: a Lookup keeps its place and continues there. A crash loses only that place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from gateway.core.clock_offset import ENOUGH, Offset, offset_of
from gateway.flows.deps import Deps
from gateway.flows.upstream.list_bisection import EndlessListError, Order, first_page, order_of
from gateway.ports import Access, Trouble, Unknown, UpstreamJob
from gateway.store.work import submits

_SIZE = 100
# A growing list may repeat a page; so many equal pages in a row mean that it has no end.
_SAME_PAGES = 10
_ENDLESS = Unknown("the upstream's list does not end: page after page has the same or newer jobs")


class _CannotListError(Exception):
    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self.trouble = trouble


class _TimeIsUpError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class SearchWindow:
    """From the first request to the end of the last one, by the clock of the database."""

    start: datetime
    end: datetime

    def at_upstream(self, offset: Offset, lag: timedelta) -> "SearchWindow":
        """When the upstream can have made the jobs, by its own clock.

        The upstream may carry out a request up to `lag` after its caller gave up waiting.
        """
        return SearchWindow(self.start + offset.least, self.end + lag + offset.most)


@dataclass(slots=True)
class Lookup:
    """One search for jobs of one credential; `began_at` is by the clock of the database.

    `markers` has the ids of the wanted jobs, each with its number of earlier looks. `found` has the
    upstream's job of each marker seen so far. Once `is_complete`, other markers are not in the list.
    """

    deps: Deps
    access: Access
    markers: dict[str, int]
    window: SearchWindow
    began_at: datetime
    found: dict[str, UpstreamJob] = field(default_factory=dict[str, UpstreamJob])
    calls: int = 0
    is_complete: bool = False
    _until: float = 0.0
    _next: int | None = None
    _order: Order | None = None
    _theirs: SearchWindow | None = None
    _pages: dict[int, list[UpstreamJob]] = field(default_factory=dict[int, list[UpstreamJob]])
    _shown: list[str] = field(default_factory=list[str])
    _same: int = 0

    async def run(self, until: float) -> Trouble | None:
        """Search to the end, or until a monotonic time; returns the trouble that stopped it, if any."""
        if self.is_complete:
            return None
        self._until, self._shown, self._same = until, [], 0
        try:
            await self._search()
        except _CannotListError as cannot:
            return cannot.trouble
        except EndlessListError:
            return _ENDLESS
        except _TimeIsUpError:
            return None
        self.is_complete = True
        return None

    async def _search(self) -> None:
        if self._next is None:
            first = await self._page(0)
            if self._has_all() or not first:
                return
            self._next = await self._place(first)
            if self._next == 0:
                if self._is_over(first):
                    return
                self._next = 1
        else:
            # Deletions since the last round may have moved jobs to an earlier page.
            self._next = max(self._next - 1, 0)
        while not self._is_over(await self._page(self._next)):
            self._next += 1

    async def _place(self, first: list[UpstreamJob]) -> int:
        """The number of the page to begin at."""
        self._pages = {0: first}
        sample = await self._sample(0, 1)
        self._order = order_of(sample)
        if self._order is None:
            return 0
        newest = sample if self._order == "newest" else await self._sample(await self._last(), -1)
        skew = timedelta(seconds=self.deps.policy.lookup_skew)
        theirs = self.window.at_upstream(await self._offset(newest, skew), skew)
        self._theirs = theirs

        async def is_before(number: int) -> bool:
            page = await self._kept(number)
            return bool(page) and self._lies_before(page, theirs)

        number = await first_page(is_before)
        self._pages.clear()
        return max(number - 1, 0)

    async def _sample(self, number: int, step: int) -> list[UpstreamJob]:
        """Jobs from a page on, enough of them to estimate the clock: pages may be small."""
        jobs: list[UpstreamJob] = []
        while number >= 0 and (page := await self._kept(number)):
            jobs = jobs + page if step > 0 else page + jobs
            if len(jobs) >= ENOUGH:
                break
            number += step
        return jobs

    async def _last(self) -> int:
        """The number of the last page."""

        async def is_there(number: int) -> bool:
            return bool(await self._kept(number))

        return await first_page(is_there) - 1

    async def _kept(self, number: int) -> list[UpstreamJob]:
        """A page, read once during the bisection."""
        if number not in self._pages:
            self._pages[number] = await self._page(number)
        return self._pages[number]

    async def _offset(self, newest: Sequence[UpstreamJob], skew: timedelta) -> Offset:
        """How far the upstream's clock is ahead, estimated from jobs whose submit was recorded."""
        taken: dict[UUID, datetime] = {}
        for job in newest:
            if (marker := _uuid(job.marker)) is not None and job.created_at is not None:
                taken[marker] = job.created_at
        async with self.deps.db.single() as tx:
            sent = await submits.sent(tx, list(taken))
        latest = max((job.created_at for job in newest if job.created_at), default=self.began_at)
        return offset_of(
            [(taken[one.id] - one.submitted_at, taken[one.id] - one.sent_at) for one in sent],
            skew=skew,
            lateness=max(self.began_at - latest, timedelta()),
        )

    def _lies_before(self, page: Sequence[UpstreamJob], theirs: SearchWindow) -> bool:
        last = page[-1].created_at
        if last is None:
            return False
        return last > theirs.end if self._order == "newest" else last < theirs.start

    def _is_over(self, page: Sequence[UpstreamJob]) -> bool:
        # Only an empty page is the end: an upstream may give fewer jobs than it was asked for.
        if self._has_all() or not page:
            return True
        last = page[-1].created_at
        if last is None or self._order is None or self._theirs is None:
            return False
        return last < self._theirs.start if self._order == "newest" else last > self._theirs.end

    async def _page(self, number: int) -> list[UpstreamJob]:
        if self.deps.clock.monotonic() > self._until:
            raise _TimeIsUpError
        self.calls += 1
        page = await self.deps.upstream.page(self.access, statuses=(), page=number, size=_SIZE)
        if not isinstance(page, list):
            raise _CannotListError(page)
        self._expect_another(page)
        for job in page:
            if job.marker is not None and job.marker in self.markers:
                known = self.found.get(job.marker)
                if known is None or _is_older(job, known):
                    self.found[job.marker] = job
        return page

    def _expect_another(self, page: Sequence[UpstreamJob]) -> None:
        shown = [job.upstream_id for job in page]
        self._same = self._same + 1 if shown and shown == self._shown else 0
        self._shown = shown
        if self._same >= _SAME_PAGES:
            raise EndlessListError

    def _has_all(self) -> bool:
        return self.markers.keys() <= self.found.keys()


def _uuid(text: str | None) -> UUID | None:
    """The id in a marker; None where it is not ours, as others' jobs may have any metadata."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _is_older(job: UpstreamJob, than: UpstreamJob) -> bool:
    """If two jobs ever have the same marker, all processes choose the same one."""
    if job.created_at is None or than.created_at is None:
        return job.upstream_id < than.upstream_id
    return (job.created_at, job.upstream_id) < (than.created_at, than.upstream_id)
