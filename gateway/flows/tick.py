"""One round of questions to the upstream about the jobs of one credential.

With several jobs there it asks by list: one call shows the ends of up to a hundred. What the lists
do not show is asked for by itself: absence from a list proves nothing.
"""

import asyncio
from collections.abc import Sequence

from gateway.core.lifecycle import Finish, Start
from gateway.core.schedule import (
    InFlight,
    Pace,
    awaits_start,
    deep_interval,
    is_overdue,
    is_straggler,
)
from gateway.flows import reports
from gateway.flows.ask import ENDS, ask
from gateway.flows.care import with_care
from gateway.flows.deps import Deps
from gateway.flows.poll_memory import Memory
from gateway.flows.reports import Told, Written
from gateway.ports import Access, Denied, Trouble, Unknown, UpstreamJob
from gateway.store import polls
from gateway.store.polls import AtUpstream, ToPoll

UNUSABLE = "unusable"
_SAMPLE = 1000
_PAGE = 100
_PAGES = 50
_LATE = 50
_FEW = 5
_MANY = 20
# By then a job that is not awaited never will be: the outcome of its submit was looked up long ago.
_SURELY_RECORDED = 600.0
_TRY_AGAIN = 300.0
_UNREADABLE = 3


class Tick:
    """One round; its findings are read from its attributes afterwards."""

    def __init__(
        self, deps: Deps, credential: ToPoll, pace: Pace, memory: Memory, *, probe: bool = False
    ) -> None:
        self._deps = deps
        self._credential = credential
        self._memory = memory
        self.probe = probe
        self.lent = False
        # Not so while rounds were begun of late and not ended.
        self.is_safe = credential.strikes < deps.policy.suspicious
        self.pace = pace
        self.order = credential.list_order
        self.groups: Sequence[InFlight] = ()
        self.is_cut_short = False
        self.durations: list[tuple[str, float]] = []
        self.troubles: list[Trouble] = []
        self.calls = 0
        self._has_news_of_starts = False

    async def run(self, access: Access | Denied) -> None:
        """Ask what is worth asking now, and write down what was learned.

        A probe asks one thing. Where the credential is `lent`, what it does not show is given up.
        """
        await self._look()
        if isinstance(access, Denied):
            self.troubles.append(access)
        elif self.jobs:
            await (self._ask(access) if self.is_safe else self._ask_with_care(access))
        if self._has_news_of_starts:
            await self._look()

    async def _look(self) -> None:
        async with self._deps.db.single() as tx:
            self.groups = await polls.in_flight(tx, self._credential.id, _SAMPLE)

    @property
    def jobs(self) -> int:
        """How many jobs were at the upstream when the round began, up to a thousand."""
        return sum(group.jobs for group in self.groups)

    async def _ask(self, access: Access) -> None:
        if self.probe or self.jobs < self._deps.policy.list_from or not self._may_list():
            await self._ask_each(access, await self._late(0.0, 1 if self.probe else _LATE))
            return
        await self._list_ends(access)
        if self._wants_starts():
            await self._list_starts(access)
        if any(is_overdue(group.workflow, group.oldest, self.pace) for group in self.groups):
            await self._ask_late(access)

    def _may_list(self) -> bool:
        """Lists that cannot be used are tried again now and then."""
        now = self._deps.clock.monotonic()
        if self.order == UNUSABLE and now - self._memory.tried_at < _TRY_AGAIN:
            return False
        self._memory.tried_at = now
        return True

    async def _ask_late(self, access: Access) -> None:
        late = [
            job for job in await self._late(1.0) if is_overdue(job.workflow, job.age, self.pace)
        ]
        if len(late) > _FEW:
            self._memory.wants_walk = True
            late = [job for job in late if is_straggler(job.workflow, job.age, self.pace)][:_MANY]
        await self._ask_each(access, late)

    # --- by list ---------------------------------------------------------------------------------

    async def _list_ends(self, access: Access) -> None:
        """Page through the ended jobs while pages bring news, and now and then to the very end."""
        deep = self._walk_is_due()
        horizon = max(group.oldest for group in self.groups) if deep else 0.0
        for number in range(_PAGES):
            page = await self._page(access, ENDS, number)
            if page is None:
                return
            news = await self._take(page, anew=deep)
            if not self._is_full(page) or self.order == UNUSABLE:
                return
            if not news and not (deep and self._age(page[-1]) < horizon):
                return

    def _is_full(self, page: Sequence[UpstreamJob]) -> bool:
        """Whether more may follow; the upstream may have a smaller page than it is asked for."""
        self._memory.largest = max(self._memory.largest, len(page))
        return 0 < len(page) == self._memory.largest

    def _walk_is_due(self) -> bool:
        now = self._deps.clock.monotonic()
        if not self._memory.wants_walk or now - self._memory.walked_at < deep_interval(self.pace):
            return False
        self._memory.walked_at, self._memory.wants_walk = now, False
        return True

    def _age(self, job: UpstreamJob) -> float:
        if job.created_at is None:
            return float("inf")
        return (self._deps.clock.now() - job.created_at).total_seconds()

    async def _take(self, page: Sequence[UpstreamJob], *, anew: bool = False) -> int:
        """Settle the jobs of a page that are awaited; how many there were."""
        known = {} if anew else self._memory.ended
        fresh = {job.upstream_id: job for job in page if job.upstream_id not in known}
        if not fresh:
            return 0
        async with self._deps.db.single() as tx:
            awaited = await polls.match(tx, self._credential.id, list(fresh))
        if awaited:
            self._deps.reached("poll.matched")
        read = [reports.read(self._deps, job, fresh[job.upstream_id]) for job in awaited]
        told = [one for one in read if one is not None]
        for job in (job for job, one in zip(awaited, read, strict=True) if one is None):
            await reports.strike(self._deps, Told(job, None))
        written = await self._record(told)
        # A job that ended before its submit was recorded is awaited in a moment: not to be forgotten.
        theirs = {job.upstream_id for job in awaited}
        done = {
            one.job.upstream_id
            for one in told
            if isinstance(one.move, Finish) and one.job.id not in written.failed
        }
        self._memory.add(
            [
                id_
                for id_, job in fresh.items()
                if id_ in done or (id_ not in theirs and self._age(job) > _SURELY_RECORDED)
            ]
        )
        return len(awaited)

    def _wants_starts(self) -> bool:
        """Starts are worth a call of their own only where jobs run for long."""
        now = self._deps.clock.monotonic()
        slow = any(awaits_start(group, self.pace) for group in self.groups)
        if not slow or now - self._memory.started_at < deep_interval(self.pace):
            return False
        self._memory.started_at = now
        return True

    async def _list_starts(self, access: Access) -> None:
        page = await self._page(access, ("STARTED",), 0)
        if page:
            await self._take(page)

    async def _page(
        self, access: Access, statuses: Sequence[str], number: int
    ) -> list[UpstreamJob] | None:
        self.calls += 1
        page = await self._deps.upstream.page(access, statuses=statuses, page=number, size=_PAGE)
        if isinstance(page, list):
            self._learn_order(page)
            return page
        self._memory.unreadable += 1
        if not (isinstance(page, Unknown) and page.unreadable):
            self.troubles.append(page)
        elif self._memory.unreadable >= _UNREADABLE:
            # A list that cannot be read is done without: each job can be asked for by itself.
            self.order = UNUSABLE
        return None

    def _learn_order(self, page: Sequence[UpstreamJob]) -> None:
        self._memory.unreadable = 0
        times = [job.created_at for job in page if job.created_at is not None]
        if times and times[0] != times[-1]:
            self.order = "newest" if times[0] > times[-1] else UNUSABLE

    # --- one by one ------------------------------------------------------------------------------

    async def _late(self, age: float, most: int = _LATE) -> list[AtUpstream]:
        async with self._deps.db.single() as tx:
            return await polls.stragglers(tx, self._credential.id, age, most)

    async def _ask_with_care(self, access: Access) -> None:
        """Ask about each job by itself, with a strike before: what brings the process down is given up."""
        clock, end = self._deps.clock, self._deps.clock.monotonic() + self._deps.policy.lease / 3

        async def ask_them(jobs: Sequence[AtUpstream]) -> bool:
            await self._ask_each(access, jobs)
            return not self.troubles and clock.monotonic() < end

        jobs = await self._late(0.0, 1 if self.probe else _SAMPLE)
        self.is_safe = await with_care(self._deps, jobs, ask_them) and not self.probe

    async def _ask_each(self, access: Access, jobs: Sequence[AtUpstream]) -> None:
        if not jobs or self.troubles:
            return
        asked = await asyncio.gather(
            *(ask(self._deps, access, job, lent=self.lent) for job in jobs)
        )
        self.calls += sum(one.calls for one in asked)
        self.troubles += [one.trouble for one in asked if one.trouble is not None]
        self._deps.reached("poll.answered")
        told = [one.told for one in asked if one.told is not None]
        await self._record(told)
        for broken in (one.job for one in asked if one.is_broken):
            await reports.strike(self._deps, Told(broken, None))
        async with self._deps.db.single() as tx:
            await polls.ask_later(tx, [(one.job.id, one.delay, one.absences) for one in asked])

    async def _record(self, told: Sequence[Told]) -> Written:
        written = await reports.record(self._deps, told)
        self.durations += written.took
        self._has_news_of_starts |= any(isinstance(one.move, Start) for one in told)
        return written
