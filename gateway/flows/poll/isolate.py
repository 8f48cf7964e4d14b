"""Isolation: find the job whose answer kills the process, and give it up.

It runs if two rounds of a credential were begun and never ended. Each group of jobs gets a strike
before its check, and loses its strikes after it. A crash leaves the strikes, and jobs with strikes
are checked one at a time. So the job that causes the crash collects strikes alone. When it has
more than `Policy.strikes`, it fails as unreadable, and its neighbours go on.
"""

from collections.abc import Sequence

from gateway.core.lifecycle import unreadable
from gateway.flows.deps import Deps
from gateway.flows.poll import reports
from gateway.flows.poll.reports import JobReport
from gateway.flows.poll.state import RoundState
from gateway.flows.poll.status_check import check_jobs
from gateway.ports import Access
from gateway.store.work import job_strikes
from gateway.store.work.polls import AtUpstream

_GROUP = 50


async def check_isolated(state: RoundState, access: Access, jobs: Sequence[AtUpstream]) -> bool:
    """Check jobs in groups, and those with strikes one at a time.

    Returns whether all were checked: trouble, or the end of the round's time, stop it early.
    """
    deps = state.deps
    must_stop = False
    for group in await _groups(deps, jobs):
        if must_stop:
            return False
        await check_jobs(state, access, await _strike_before(deps, group))
        must_stop = bool(state.troubles) or state.is_out_of_time()
        async with deps.db.single() as tx:
            await job_strikes.spare(tx, [job.id for job in group])
    return True


async def _groups(deps: Deps, jobs: Sequence[AtUpstream]) -> list[Sequence[AtUpstream]]:
    """Groups of jobs without strikes, then each job with strikes alone."""
    async with deps.db.single() as tx:
        struck = await job_strikes.struck(tx, [job.id for job in jobs])
    clean = [job for job in jobs if job.id not in struck]
    alone = [[job] for job in jobs if job.id in struck]
    return [*(clean[n : n + _GROUP] for n in range(0, len(clean), _GROUP)), *alone]


async def _strike_before(deps: Deps, jobs: Sequence[AtUpstream]) -> list[AtUpstream]:
    """Give each job a strike before its check; jobs with too many fail, the others are returned."""
    async with deps.db.single() as tx:
        strikes = await job_strikes.strike(tx, [job.id for job in jobs])
    to_give_up = [job for job in jobs if strikes.get(job.id, 0) > deps.policy.strikes]
    await reports.record(deps, [JobReport(job, unreadable()) for job in to_give_up])
    return [job for job in jobs if job not in to_give_up]
