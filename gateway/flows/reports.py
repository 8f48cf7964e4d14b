"""What reports from the upstream mean for the jobs that await them, written in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.core.events import JOB_STARTED
from gateway.core.lifecycle import Finish, JobError, Start, after_poll, error_of
from gateway.core.model import JobState
from gateway.flows.deps import Deps
from gateway.flows.settle import announce, ending, publish_jobs, settle
from gateway.ports import UpstreamJob
from gateway.store import polls
from gateway.store.engine import Tx
from gateway.store.polls import AtUpstream


@dataclass(frozen=True, slots=True)
class Told:
    """A job and what was learned about it; None where it goes on as before."""

    job: AtUpstream
    move: Finish | Start | None


def read(job: AtUpstream, report: UpstreamJob) -> Told:
    """Decide what a full report means for a job."""
    problem = report.problem
    error: JobError | None = None
    if problem is not None:
        error = error_of(problem.code, problem.title, problem.message)
    move = after_poll(
        JobState(job.state),
        report.status,
        result=report.result,
        error=error,
        started_at=report.started_at,
        completed_at=report.completed_at,
    )
    return Told(job, move)


async def record(deps: Deps, told: Sequence[Told]) -> list[tuple[str, float]]:
    """Write starts and ends; the (workflow, seconds) that the ended jobs took."""
    ends = [ending(one.job.id, one.move) for one in told if isinstance(one.move, Finish)]
    starts = [(one.job.id, one.move.started_at) for one in told if isinstance(one.move, Start)]
    if not ends and not starts:
        return []
    async with deps.db.begin() as tx:
        owed = await _start(tx, deps, starts) if starts else 0
        settled = await settle(tx, deps, ends)
        deps.reached("poll.settled")
    deps.reached("poll.committed")
    if owed:
        deps.queue.wake("deliver")
    announce(deps, settled)
    if settled.jobs:
        # An end makes room at the upstream for a job that waits.
        deps.queue.wake("submit")
    ages = {one.job.id: (one.job.workflow, one.job.age) for one in told}
    return [ages[job.id] for job in settled.jobs]


async def _start(tx: Tx, deps: Deps, starts: Sequence[tuple[UUID, datetime | None]]) -> int:
    jobs = await polls.started(tx, starts)
    return await publish_jobs(tx, deps, [(JOB_STARTED, job) for job in jobs]) if jobs else 0
