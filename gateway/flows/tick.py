"""One round of questions to the upstream about the jobs of one credential.

With several jobs there it asks by list: one call shows the ends of up to a hundred. What the lists
do not show is asked for by itself: absence from a list proves nothing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.core.schedule import (
    InFlight,
    Pace,
    deep_interval,
    is_overdue,
    is_straggler,
)
from gateway.flows import reports
from gateway.flows.ask import ENDS, ask
from gateway.flows.deps import Deps
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
_LONG = 5.0
_REMEMBERED = 20_000
_SURELY_RECORDED = 60.0
_TRY_AGAIN = 300.0
_UNREADABLE = 3


@dataclass(slots=True)
class Memory:
    """What a process remembers between rounds; losing it costs a few calls."""

    ended: dict[str, None] = field(default_factory=dict[str, None])
    tried_at: float = float("-inf")
    unreadable: int = 0
    largest: int = 0
    wants_walk: bool = False
    walked_at: float = float("-inf")
    started_at: float = float("-inf")

    def add(self, upstream_ids: Sequence[str]) -> None:
        """Remember jobs whose end was dealt with."""
        self.ended.update(dict.fromkeys(upstream_ids))
        while len(self.ended) > _REMEMBERED:
            del self.ended[next(iter(self.ended))]


class Tick:
    """One round; its findings are read from its attributes afterwards."""

    def __init__(
        self, deps: Deps, credential: ToPoll, access: Access | Denied, pace: Pace, memory: Memory
    ) -> None:
        self._deps = deps
        self._credential = credential
        self._access = access
        self._memory = memory
        self.pace = pace
        self.order = credential.list_order
        self.in_flight: list[InFlight] | None = None
        self.durations: list[tuple[str, float]] = []
        self.troubles: list[Trouble] = []
        self.calls = 0

    async def run(self) -> None:
        """Ask what is worth asking now, and write down what was learned."""
        async with self._deps.db.single() as tx:
            self.in_flight = await polls.in_flight(tx, self._credential.id, _SAMPLE)
        if isinstance(self._access, Denied):
            self.troubles.append(self._access)
        elif self.jobs:
            await self._ask(self._access)

    @property
    def jobs(self) -> int:
        """How many jobs were at the upstream when the round began, up to a thousand."""
        return sum(group.jobs for group in self.groups)

    @property
    def groups(self) -> Sequence[InFlight]:
        """These jobs by workflow."""
        return self.in_flight or ()

    async def _ask(self, access: Access) -> None:
        if self.jobs < self._deps.policy.list_from or not self._may_list():
            await self._ask_each(access, await self._late(0.0))
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
            news = await self._take(page)
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

    async def _take(self, page: Sequence[UpstreamJob]) -> int:
        """Settle the jobs of a page that are awaited; how many there were."""
        fresh = {j.upstream_id: j for j in page if j.upstream_id not in self._memory.ended}
        if not fresh:
            return 0
        async with self._deps.db.single() as tx:
            awaited = await polls.match(tx, self._credential.id, list(fresh))
        if awaited:
            self._deps.reached("poll.matched")
        told = [reports.read(job, fresh[job.upstream_id]) for job in awaited]
        self.durations += await reports.record(self._deps, told)
        # A job that ended before its submit was recorded is awaited in a moment: not to be forgotten.
        known = {job.upstream_id for job in awaited}
        self._memory.add(
            [id_ for id_, job in fresh.items() if id_ in known or self._age(job) > _SURELY_RECORDED]
        )
        return len(awaited)

    def _wants_starts(self) -> bool:
        """Starts are worth a call of their own only where jobs run for long."""
        slow = any(
            group.unstarted and self.pace.typical.get(group.workflow, group.oldest) > _LONG
            for group in self.groups
        )
        now = self._deps.clock.monotonic()
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

    async def _late(self, age: float) -> list[AtUpstream]:
        async with self._deps.db.single() as tx:
            return await polls.stragglers(tx, self._credential.id, age, _LATE)

    async def _ask_each(self, access: Access, jobs: Sequence[AtUpstream]) -> None:
        if not jobs or self.troubles:
            return
        asked = await asyncio.gather(*(ask(self._deps, access, job) for job in jobs))
        self.calls += sum(one.calls for one in asked)
        self.troubles += [one.trouble for one in asked if one.trouble is not None]
        self._deps.reached("poll.answered")
        told = [one.told for one in asked if one.told is not None]
        self.durations += await reports.record(self._deps, told)
        async with self._deps.db.single() as tx:
            await polls.ask_later(tx, [(one.job.id, one.delay, one.absences) for one in asked])
