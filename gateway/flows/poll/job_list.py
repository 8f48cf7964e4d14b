"""The upstream's job list as one round reads it: pages of 100, each page of ended jobs read once.

The order of the list is not documented, so each page teaches it: newest first is usable, any other
order is not. A list that stays unreadable is given up too. Every five minutes an unusable list is
tried again. Jobs of an unusable list are checked one at a time.
"""

from collections.abc import Sequence

from gateway.flows.poll.state import RoundState
from gateway.flows.poll.status_check import ENDS
from gateway.ports import Access, Unknown, UpstreamJob

NEWEST, UNUSABLE = "newest", "unusable"
_PAGE = 100
_TRY_AGAIN_SECONDS = 300.0
_MAX_UNREADABLE = 3


def may_list(state: RoundState) -> bool:
    """Whether to read the list at all; notes that it is tried now."""
    now = state.deps.clock.monotonic()
    is_unusable = state.list_order == UNUSABLE
    if is_unusable and now - state.memory.list_tried_at < _TRY_AGAIN_SECONDS:
        return False
    state.memory.list_tried_at = now
    return True


class JobList:
    """Reads pages of the list for one round and counts the calls."""

    def __init__(self, state: RoundState, access: Access) -> None:
        self._state = state
        self._access = access
        self._ends: dict[int, list[UpstreamJob]] = {}

    async def ended_jobs(self, number: int) -> list[UpstreamJob] | None:
        """A page of ended jobs; None if it could not be had. A page is fetched once a round."""
        if number not in self._ends:
            page = await self._fetch(ENDS, number)
            if page is None:
                return None
            self._ends[number] = page
        return self._ends[number]

    async def started_jobs(self) -> list[UpstreamJob]:
        """The first page of jobs that run; empty if it could not be had."""
        return await self._fetch(("STARTED",), 0) or []

    def may_have_next(self, page: Sequence[UpstreamJob]) -> bool:
        """Whether another page may follow.

        The upstream may send smaller pages than it is asked for. That is assumed if two pages had
        the same length and none was longer.
        """
        memory = self._state.memory
        known, memory.largest_page = memory.largest_page, max(memory.largest_page, len(page))
        return len(page) >= _PAGE or 0 < len(page) == known

    async def _fetch(self, statuses: Sequence[str], number: int) -> list[UpstreamJob] | None:
        state = self._state
        state.calls += 1
        page = await state.deps.upstream.page(
            self._access, statuses=statuses, page=number, size=_PAGE
        )
        if isinstance(page, list):
            self._learn_order(page)
            return page
        state.memory.unreadable_pages += 1
        if not (isinstance(page, Unknown) and page.unreadable):
            state.troubles.append(page)
        elif state.memory.unreadable_pages >= _MAX_UNREADABLE:
            # Not an outage: each job can still be checked by itself.
            state.list_order = UNUSABLE
        return None

    def _learn_order(self, page: Sequence[UpstreamJob]) -> None:
        self._state.memory.unreadable_pages = 0
        times = [job.created_at for job in page if job.created_at is not None]
        if times and times[0] != times[-1]:
            self._state.list_order = NEWEST if times[0] > times[-1] else UNUSABLE
