"""One round of questions to the upstream about the jobs of one credential.

With several jobs there it asks by list: one call shows the ends of up to a hundred. What the lists
do not show is asked for by itself: absence from a list proves nothing. How much is asked is a matter
of the budget (core/schedule.py): calls that jobs pay for are spent when ends are due.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from gateway.core.lifecycle import Finish, Start
from gateway.core.schedule import (
    InFlight,
    Pace,
    awaits_start,
    deep_interval,
    overdue_after,
    straggles_after,
    tokens,
)
from gateway.flows.deps import Deps
from gateway.flows.poll import reports
from gateway.flows.poll.isolate import check_isolated
from gateway.flows.poll.memory import PollMemory
from gateway.flows.poll.reports import JobReport, RecordedReports
from gateway.flows.poll.status_check import ENDS, check_status
from gateway.flows.upstream.list_bisection import EndlessListError, first_page
from gateway.ports import Access, Sealed, Trouble, Unknown, UpstreamJob
from gateway.store.work import polls
from gateway.store.work.polls import AtUpstream, Flight, JobPosition, ToPoll

NEWEST, UNUSABLE = "newest", "unusable"
_SAMPLE = 1000
_PAGE = 100
_LATE = 400
_ALONE = 50
_FEW = 5
_MANY = 20
# By then a job that is not awaited never will be: the outcome of its submit was looked up long ago.
_SURELY_RECORDED = 600.0
_TRY_AGAIN = 300.0
_UNREADABLE = 3
# How much the list may lag behind the ages that are searched for, and how soon the most that it was
# seen to be dated earlier is forgotten.
_SLACK_SECONDS = 0.5
# Where the upstream limits the rate, so much of it may go for questions at once.
_AT_ONCE_SECONDS = 5.0
_FADING = 0.98


class PollRound:
    """One round; its findings are read from its attributes afterwards."""

    def __init__(
        self, deps: Deps, credential: ToPoll, pace: Pace, memory: PollMemory, *, probe: bool = False
    ) -> None:
        self._deps = deps
        self._credential = credential
        self._memory = memory
        self._until = deps.clock.monotonic() + deps.policy.lease / 3
        self.probe = probe
        self.is_substitute = False
        # Not so while rounds were begun of late and not ended.
        self.is_safe = credential.strikes < deps.policy.suspicious
        self.pace = pace
        self.order = credential.list_order
        self.flight = Flight()
        self.is_cut_short = False
        self.durations: list[tuple[str, float]] = []
        self.troubles: list[Trouble | Sealed] = []
        self.calls = 0
        self._ended: set[UUID] = set()
        self._ends: dict[int, list[UpstreamJob]] = {}
        self._has_news_of_starts = False
        self._listed_at = 0.0

    async def run(self, access: Access | Sealed) -> None:
        """Ask what is worth asking now, and write down what was learned.

        A probe asks one thing. Where the credential is `lent`, what it does not show is given up.
        """
        await self._look()
        if isinstance(access, Sealed):
            self.troubles.append(access)
        elif self.groups:
            await (self._ask(access) if self.is_safe else self._ask_with_care(access))
        if self._has_news_of_starts:
            await self._look()

    async def _look(self) -> None:
        id_, tenant_id = self._credential.id, self._credential.tenant_id
        async with self._deps.db.single() as tx:
            few = self._deps.policy.list_from
            self.flight = await polls.in_flight(tx, id_, tenant_id, self.pace, few)

    @property
    def groups(self) -> Sequence[InFlight]:
        """The workflows of the jobs that were at the upstream when the round began."""
        return self.flight.groups

    @property
    def jobs(self) -> int:
        """How many jobs were at the upstream when the round began, roughly."""
        return self.flight.jobs if self.groups else 0

    async def _ask(self, access: Access) -> None:
        policy = self._deps.policy
        if self.probe or self.flight.few < policy.list_from or not self._may_list():
            await self._ask_each(access, await self._due(1 if self.probe else _ALONE))
            return
        await self._list_ends(access)
        if self._wants_starts():
            await self._list_starts(access)
        await self._ask_late(access)

    def _may_list(self) -> bool:
        """Lists that cannot be used are tried again now and then."""
        now = self._deps.clock.monotonic()
        if self.order == UNUSABLE and now - self._memory.tried_at < _TRY_AGAIN:
            return False
        self._memory.tried_at = now
        return True

    def _tokens(self) -> float:
        """How many calls the budget has left."""
        return tokens(self.pace, self.jobs, self._deps.policy) - self.calls

    # --- by list ---------------------------------------------------------------------------------

    async def _list_ends(self, access: Access) -> None:
        """Page through the ended jobs, as far as there is news or an expected job may be.

        Ends do not come in the order of the list, so behind a page without news there may be some.
        """
        horizon = max(group.expected or 0.0 for group in self.groups)
        self._listed_at = self._deps.clock.monotonic()
        number, all_news = 0, False
        while (page := await self._page_of_ends(access, number)) is not None:
            number += 1
            is_last = not self._is_full(page) or self.order == UNUSABLE or self._is_late()
            ahead = number if all_news and not is_last else None
            news = await self._take_and_read_ahead(access, page, ahead)
            if is_last or (not news and self._is_far_enough(page[-1], horizon)):
                return
            all_news = news == len(page)

    def _is_far_enough(self, last: UpstreamJob, horizon: float) -> bool:
        """Whether no expected job is behind this one, or the budget is used up."""
        return self._our_age(last) > horizon or self._tokens() <= 0

    async def _take_and_read_ahead(
        self, access: Access, page: Sequence[UpstreamJob], ahead: int | None
    ) -> int:
        """Settle the jobs of a page while the next one comes, where that is wanted for sure."""
        if ahead is None:
            return await self._take(page)
        reading = asyncio.create_task(self._page_of_ends(access, ahead))
        try:
            return await self._take(page)
        finally:
            await reading

    def _is_full(self, page: Sequence[UpstreamJob]) -> bool:
        """Whether more may follow; the upstream may have a smaller page than it is asked for.

        That is only believed where two pages were as long as each other and none was longer.
        """
        known, self._memory.largest = self._memory.largest, max(self._memory.largest, len(page))
        return len(page) >= _PAGE or 0 < len(page) == known

    def _is_late(self) -> bool:
        """Whether the round must come to its end, for the length of its lease."""
        return self._deps.clock.monotonic() > self._until

    def _age(self, job: UpstreamJob) -> float:
        if job.created_at is None:
            return float("inf")
        return (self._deps.clock.now() - job.created_at).total_seconds()

    def _our_age(self, job: UpstreamJob) -> float:
        """The least age that such a job can have here, where it is dated by the upstream's clock."""
        return self._age(job) - self._memory.earlier - _SLACK_SECONDS

    async def _take(self, page: Sequence[UpstreamJob], *, anew: bool = False) -> int:
        """Settle the jobs of a page that are awaited; how many there were."""
        known = {} if anew else self._memory.ended
        fresh = {job.upstream_id: job for job in page if job.upstream_id not in known}
        if not fresh:
            return 0
        async with self._deps.db.single() as tx:
            awaited = await polls.match(tx, self._credential.id, list(fresh))
        if awaited:
            self._deps.crash_point("poll.matched")
        self._compare_dates(awaited, fresh)
        read = [reports.read(self._deps, job, fresh[job.upstream_id]) for job in awaited]
        told = [one for one in read if one is not None]
        for job in (job for job, one in zip(awaited, read, strict=True) if one is None):
            await reports.strike(self._deps, JobReport(job, None))
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

    def _compare_dates(self, awaited: Sequence[AtUpstream], theirs: dict[str, UpstreamJob]) -> None:
        dated = [(job, theirs[job.upstream_id]) for job in awaited]
        earlier = [self._age(them) - job.age for job, them in dated if them.created_at is not None]
        if earlier:
            self._memory.earlier = max(_FADING * self._memory.earlier, *earlier)

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

    async def _page_of_ends(self, access: Access, number: int) -> list[UpstreamJob] | None:
        """A page of ended jobs, which is read once a round."""
        if number not in self._ends:
            page = await self._page(access, ENDS, number)
            if page is None:
                return None
            self._ends[number] = page
        return self._ends[number]

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
            self.order = NEWEST if times[0] > times[-1] else UNUSABLE

    # --- what the list should have shown ---------------------------------------------------------

    async def _ask_late(self, access: Access) -> None:
        """Ask about overdue jobs: by list where they are many, and about the rest by themselves.

        As many at once as the budget allows; a few, and those that are very late, in any case.
        """
        late = [job for job in await self._overdue() if job.id not in self._ended]
        if len(late) > _FEW and self._may_search():
            await self._search(access, late)
            late = [job for job in late if job.id not in self._ended]
        due = [job for job in late if job.due]
        stragglers = [job for job in due if job.age > straggles_after(job.workflow, self.pace)]
        afford = self._affordable()
        least = stragglers[:_MANY] if len(late) > _FEW else due[:_FEW]
        known = [job for job in due if job.workflow in self.pace.typical and job not in least]
        await self._ask_each(access, [*least, *known[:afford]])

    def _affordable(self) -> int:
        """How many jobs the budget and the upstream's rate allow to be asked about at once.

        Each costs a call for its status, and one for the whole job once it has ended.
        """
        rate = self._deps.policy.upstream_rate
        calls = min(self._tokens(), rate * _AT_ONCE_SECONDS if rate else _LATE * 2)
        return max(int(calls / 2), 0)

    async def _overdue(self) -> list[AtUpstream]:
        """The next overdue jobs, from where the round before ended."""
        found: list[AtUpstream] = []
        # What was to end while the list was read could not be in it.
        took = self._deps.clock.monotonic() - self._listed_at
        for group in self.groups:
            age = overdue_after(group.workflow, self.pace) + took
            if group.oldest + took > age:
                after = self._memory.overdue.pop(group.workflow, JobPosition(group.workflow))
                async with self._deps.db.single() as tx:
                    late = await polls.overdue(tx, self._credential.id, after, age, _LATE)
                if len(late) == _LATE:
                    self._memory.overdue[group.workflow] = late[-1].place
                found += late
        return found

    def _may_search(self) -> bool:
        """A search in vain is repeated only now and then; without any budget as well."""
        if self.order != NEWEST or self.troubles or self._is_late():
            return False
        since = self._deps.clock.monotonic() - self._memory.searched_at
        is_cheap = self._tokens() > _FEW and not self._memory.in_vain
        return is_cheap or since >= deep_interval(self.pace)

    async def _search(self, access: Access, late: Sequence[AtUpstream]) -> None:
        """Search the list of ends by bisection for the ages of overdue jobs, and read it there.

        It costs no more calls than to ask about each of them.
        """
        youngest, oldest = min(job.age for job in late), max(job.age for job in late)
        before, most = len(self._ended), self.calls + 2 * len(late)

        async def is_before(number: int) -> bool:
            page = await self._page_of_ends(access, number)
            return page is not None and len(page) > 0 and self._age(page[-1]) < youngest

        try:
            number = max(await first_page(is_before) - 1, 0)
        except EndlessListError:
            self.order = UNUSABLE
            return
        while page := await self._page_of_ends(access, number):
            number += 1
            await self._take(page, anew=True)
            is_past = not self._is_full(page) or self._our_age(page[-1]) > oldest
            if is_past or self.calls >= most or self._is_late():
                break
        self._memory.searched_at = self._deps.clock.monotonic()
        self._memory.in_vain = len(self._ended) == before

    # --- one by one ------------------------------------------------------------------------------

    async def _due(self, most: int) -> list[AtUpstream]:
        """The next jobs that may be asked about, from where the round before ended."""
        after = self._memory.walked
        async with self._deps.db.single() as tx:
            jobs = await polls.walk(tx, self._credential.id, after, _SAMPLE)
            left = 0 if after == JobPosition() else _SAMPLE - len(jobs)
            jobs += await polls.walk(tx, self._credential.id, JobPosition(), left) if left else []
        due = [job for job in {job.id: job for job in jobs}.values() if job.due][:most]
        self._memory.walked = due[-1].place if due else JobPosition()
        return due

    async def _ask_with_care(self, access: Access) -> None:
        """Ask about each job by itself, with a strike before: what brings the process down is given up."""

        async def ask_them(jobs: Sequence[AtUpstream]) -> bool:
            await self._ask_each(access, jobs)
            return not self.troubles and not self._is_late()

        jobs = await self._due(1 if self.probe else _SAMPLE)
        self.is_safe = await check_isolated(self._deps, jobs, ask_them) and not self.probe

    async def _ask_each(self, access: Access, jobs: Sequence[AtUpstream]) -> None:
        if not jobs or self.troubles:
            return
        asked = await asyncio.gather(
            *(
                check_status(self._deps, access, job, is_substitute=self.is_substitute)
                for job in jobs
            )
        )
        self.calls += sum(one.calls for one in asked)
        self.troubles += [one.trouble for one in asked if one.trouble is not None]
        self._deps.crash_point("poll.answered")
        told = [one.told for one in asked if one.told is not None]
        await self._record(told)
        for broken in (one.job for one in asked if one.is_broken):
            await reports.strike(self._deps, JobReport(broken, None))
        async with self._deps.db.single() as tx:
            await polls.ask_later(tx, [(one.job.id, one.delay, one.absences) for one in asked])

    async def _record(self, told: Sequence[JobReport]) -> RecordedReports:
        written = await reports.record(self._deps, told)
        self.durations += written.took
        self._ended |= {
            one.job.id
            for one in told
            if isinstance(one.move, Finish) and one.job.id not in written.failed
        }
        self._has_news_of_starts |= any(isinstance(one.move, Start) for one in told)
        return written
