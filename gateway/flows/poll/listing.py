"""Poll by list: one call shows the ends of up to a hundred jobs.

A round with several jobs reads pages of ended jobs, newest first, for as long as they bring news or
an expected job may follow. Each page is matched with the jobs in flight, and all hits are written in
one transaction. Absence from the list proves nothing: such jobs are left to `overdue`.
A crash between two pages loses nothing: the next round reads the same pages again.
"""

import asyncio
from collections.abc import Mapping, Sequence

from gateway.core.schedule.polling import awaits_start, deep_interval
from gateway.flows.poll import reports
from gateway.flows.poll.job_list import UNUSABLE, JobList
from gateway.flows.poll.reports import JobReport
from gateway.flows.poll.state import RoundState
from gateway.ports import UpstreamJob
from gateway.store.work import polls
from gateway.store.work.polls import AtUpstream

# By this age a job that is not in flight is none of ours: a submit in doubt was looked up long ago.
_SURELY_RECORDED_SECONDS = 600.0
# The known offset of the upstream's clock shrinks by this factor with each page, if pages say less.
_OFFSET_DECAY = 0.98


async def list_ends(state: RoundState, jobs: JobList) -> None:
    """Read and settle pages of ended jobs, while they bring news or an expected job may follow.

    Jobs do not end in the order of the list, so a page without news is no proof that none follows.
    """
    horizon = max(group.expected or 0.0 for group in state.groups)
    number, was_all_news = 0, False
    while (page := await jobs.ended_jobs(number)) is not None:
        number += 1
        may_go_on = jobs.may_have_next(page) and state.list_order != UNUSABLE
        is_last = not may_go_on or state.is_out_of_time()
        if was_all_news and not is_last:
            hits = await _settle_and_read_ahead(state, jobs, page, number)
        else:
            hits = await settle_page(state, page)
        if is_last or (not hits and _is_far_enough(state, page[-1], horizon)):
            return
        was_all_news = hits == len(page)


async def list_starts(state: RoundState, jobs: JobList) -> None:
    """Read one page of started jobs, now and then, and only while long jobs wait for their start."""
    now = state.deps.clock.monotonic()
    is_awaited = any(awaits_start(group, state.pace) for group in state.groups)
    if is_awaited and now - state.memory.starts_listed_at >= deep_interval(state.pace):
        state.memory.starts_listed_at = now
        await settle_page(state, await jobs.started_jobs())


async def settle_page(
    state: RoundState, page: Sequence[UpstreamJob], *, ignore_memory: bool = False
) -> int:
    """Write what a page says of the jobs in flight; returns how many of them it showed.

    Jobs that the process remembers as settled are skipped, unless `ignore_memory` is set.
    """
    known = {} if ignore_memory else state.memory.ended
    fresh = {job.upstream_id: job for job in page if job.upstream_id not in known}
    if not fresh:
        return 0
    async with state.deps.db.single() as tx:
        awaited = await polls.match(tx, state.credential.id, list(fresh))
    if awaited:
        state.deps.crash_point("poll.matched")
    _learn_clock_offset(state, awaited, fresh)
    await _record(state, awaited, fresh)
    # A job may end before its submit is recorded. It is awaited in a moment, so it stays unknown.
    ours = {job.upstream_id for job in awaited}
    settled = {job.upstream_id for job in awaited if job.id in state.ended}
    foreign = {
        id_
        for id_, job in fresh.items()
        if id_ not in ours and state.age(job) > _SURELY_RECORDED_SECONDS
    }
    state.memory.add([id_ for id_ in fresh if id_ in settled or id_ in foreign])
    return len(awaited)


async def _record(
    state: RoundState, awaited: Sequence[AtUpstream], page: Mapping[str, UpstreamJob]
) -> None:
    """Write the reports of a page. A job whose report cannot be read gets a strike."""
    news: list[JobReport] = []
    broken: list[AtUpstream] = []
    for job in awaited:
        report = reports.read(state.deps, job, page[job.upstream_id])
        if report is None:
            broken.append(job)
        else:
            news.append(report)
    for job in broken:
        await reports.strike(state.deps, JobReport(job, None))
    await state.record(news)


async def _settle_and_read_ahead(
    state: RoundState, jobs: JobList, page: Sequence[UpstreamJob], following: int
) -> int:
    """Settle a page while the following one is fetched, which is sure to be wanted."""
    reading = asyncio.create_task(jobs.ended_jobs(following))
    try:
        return await settle_page(state, page)
    finally:
        await reading


def _is_far_enough(state: RoundState, last: UpstreamJob, horizon: float) -> bool:
    """Whether no expected job can follow the last one of a page, or the budget is used up."""
    return state.least_age(last) > horizon or state.calls_left() <= 0


def _learn_clock_offset(
    state: RoundState, awaited: Sequence[AtUpstream], page: Mapping[str, UpstreamJob]
) -> None:
    shown = [(job, page[job.upstream_id]) for job in awaited]
    earlier = [
        state.age(theirs) - job.age for job, theirs in shown if theirs.created_at is not None
    ]
    if earlier:
        state.memory.clock_offset = max(_OFFSET_DECAY * state.memory.clock_offset, *earlier)
