"""Overdue jobs: their end should have been in the list by now, and was not.

If they are many, one bisection of the list finds the pages of their age: jobs end out of order, or
behind thousands of newer ones. What stays missing is checked job by job, as far as the budget goes;
a few jobs, and those that are very late, in any case.
A crash loses the position in the walk over overdue jobs: the next round starts it from the front.
"""

from collections.abc import Sequence

from gateway.core.schedule.polling import deep_interval, overdue_after, straggles_after
from gateway.flows.poll.job_list import NEWEST, UNUSABLE, JobList
from gateway.flows.poll.listing import settle_page
from gateway.flows.poll.state import RoundState
from gateway.flows.poll.status_check import check_jobs
from gateway.flows.upstream.list_bisection import EndlessListError, first_page
from gateway.ports import Access
from gateway.store.work import polls
from gateway.store.work.polls import AtUpstream, JobPosition

_BATCH = 400
# Up to here overdue jobs are checked by themselves, without a search and whatever the budget says.
_FEW = 5
# As many very late ones are checked whatever the budget says.
_MAX_STRAGGLERS = 20
# If the upstream limits the rate, checks may use as many seconds of it at once.
_BURST_SECONDS = 5.0


async def settle_overdue(
    state: RoundState, access: Access, jobs: JobList, listed_at: float
) -> None:
    """Search the list for overdue jobs if they are many, and check the rest by themselves."""
    late = _without_ended(state, await _overdue(state, listed_at))
    if len(late) > _FEW and _may_search(state):
        await _search(state, jobs, late)
        late = _without_ended(state, late)
    due = [job for job in late if job.due]
    stragglers = [job for job in due if job.age > straggles_after(job.workflow, state.pace)]
    always = stragglers[:_MAX_STRAGGLERS] if len(late) > _FEW else due[:_FEW]
    others = [job for job in due if job.workflow in state.pace.typical and job not in always]
    await check_jobs(state, access, [*always, *others[: _affordable(state)]])


def _without_ended(state: RoundState, jobs: Sequence[AtUpstream]) -> list[AtUpstream]:
    return [job for job in jobs if job.id not in state.ended]


def _affordable(state: RoundState) -> int:
    """How many jobs the budget and the upstream's rate allow to check at once.

    Each costs a call for its status, and one for the whole job once it has ended.
    """
    rate = state.deps.policy.upstream_rate
    calls = min(state.calls_left(), rate * _BURST_SECONDS if rate else _BATCH * 2)
    return max(int(calls / 2), 0)


async def _overdue(state: RoundState, listed_at: float) -> list[AtUpstream]:
    """The next overdue jobs of each workflow, from where the last round stopped."""
    found: list[AtUpstream] = []
    # A job that ended after the list was read could not be in it.
    took = state.deps.clock.monotonic() - listed_at
    for group in state.groups:
        age = overdue_after(group.workflow, state.pace) + took
        if group.oldest + took > age:
            after = state.memory.next_overdue.pop(group.workflow, JobPosition(group.workflow))
            async with state.deps.db.single() as tx:
                late = await polls.overdue(tx, state.credential.id, after, age, _BATCH)
            if len(late) == _BATCH:
                state.memory.next_overdue[group.workflow] = late[-1].place
            found += late
    return found


def _may_search(state: RoundState) -> bool:
    """Whether to search the list: only now and then after a search in vain, or without budget."""
    if state.list_order != NEWEST or state.troubles or state.is_out_of_time():
        return False
    since = state.deps.clock.monotonic() - state.memory.searched_at
    is_cheap = state.calls_left() > _FEW and not state.memory.search_found_nothing
    return is_cheap or since >= deep_interval(state.pace)


async def _search(state: RoundState, jobs: JobList, late: Sequence[AtUpstream]) -> None:
    """Find the pages of the age of overdue jobs by bisection, and settle them.

    It makes no more calls than to check each of these jobs.
    """
    youngest, oldest = min(job.age for job in late), max(job.age for job in late)
    ended_before, max_calls = len(state.ended), state.calls + 2 * len(late)

    async def is_before(number: int) -> bool:
        page = await jobs.ended_jobs(number)
        return page is not None and len(page) > 0 and state.age(page[-1]) < youngest

    try:
        number = max(await first_page(is_before) - 1, 0)
    except EndlessListError:
        state.list_order = UNUSABLE
        return
    while page := await jobs.ended_jobs(number):
        number += 1
        await settle_page(state, page, ignore_memory=True)
        is_past = not jobs.may_have_next(page) or state.least_age(page[-1]) > oldest
        if is_past or state.calls >= max_calls or state.is_out_of_time():
            break
    state.memory.searched_at = state.deps.clock.monotonic()
    state.memory.search_found_nothing = len(state.ended) == ended_before
