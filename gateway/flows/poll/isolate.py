"""Care: ask about jobs so that one whose answer brings the process down is found and given up."""

from collections.abc import Awaitable, Callable, Sequence

from gateway.flows.deps import Deps
from gateway.flows.poll import reports
from gateway.store.work import job_strikes
from gateway.store.work.polls import AtUpstream

_GROUP = 50


async def check_isolated(
    deps: Deps,
    jobs: Sequence[AtUpstream],
    ask: Callable[[Sequence[AtUpstream]], Awaitable[bool]],
) -> bool:
    """Ask about jobs in groups, each struck before and spared after; about the struck one at a time.

    Whether all were asked about: `ask` says when to stop.
    """
    async with deps.db.single() as tx:
        struck = await job_strikes.struck(tx, [job.id for job in jobs])
    fresh = [job for job in jobs if job.id not in struck]
    groups = [fresh[n : n + _GROUP] for n in range(0, len(fresh), _GROUP)]
    goes_on = True
    for group in (*groups, *([job] for job in jobs if job.id in struck)):
        if not goes_on:
            return False
        goes_on = await ask(await reports.strike_before(deps, group))
        async with deps.db.single() as tx:
            await job_strikes.spare(tx, [job.id for job in group])
    return True
