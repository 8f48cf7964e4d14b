"""What reports from the upstream mean for the jobs that await them, written in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.core.events import JOB_STARTED
from gateway.core.lifecycle import Finish, JobFailure, Start, after_poll, error_of, unreadable
from gateway.core.model import JobState
from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.flows.settle.settlement import announce, ending, publish_jobs, settle
from gateway.flows.settle.watchers import announce_feed, announce_jobs
from gateway.ports import UpstreamJob
from gateway.store.work import job_strikes, polls
from gateway.store.work.polls import AtUpstream


@dataclass(frozen=True, slots=True)
class JobReport:
    """A job and what was learned about it; `move` is None where it goes on as before.

    `took` is how many seconds it took by the upstream's own times, and `made_at` when it was made
    there; None where they are not known.
    """

    job: AtUpstream
    move: Finish | Start | None
    took: float | None = None
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecordedReports:
    """What came of writing: the (workflow, seconds) that ended jobs took, and the jobs that failed."""

    took: Sequence[tuple[str, float]] = ()
    failed: frozenset[UUID] = frozenset()


def read(deps: Deps, job: AtUpstream, report: UpstreamJob) -> JobReport | None:
    """Decide what a full report means for a job; None where that breaks down."""
    try:
        return _read(job, report)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other jobs go on
        deps.slots.report("poll", error)
        return None


def _read(job: AtUpstream, report: UpstreamJob) -> JobReport:
    problem = report.problem
    error: JobFailure | None = None
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
    return JobReport(job, move, _took(report), report.created_at)


def _took(report: UpstreamJob) -> float | None:
    """How long a job took, however late that was noticed."""
    if report.created_at is None or report.completed_at is None:
        return None
    return max((report.completed_at - report.created_at).total_seconds(), 0.0)


async def strike_before(deps: Deps, jobs: Sequence[AtUpstream]) -> list[AtUpstream]:
    """Count that the answers of jobs may break this process down; without those that did so often.

    They are given up.
    """
    async with deps.db.single() as tx:
        strikes = await job_strikes.strike(tx, [job.id for job in jobs])
    hopeless = [job for job in jobs if strikes.get(job.id, 0) > deps.policy.strikes]
    await record(deps, [JobReport(job, unreadable()) for job in hopeless])
    return [job for job in jobs if job not in hopeless]


async def record(deps: Deps, told: Sequence[JobReport]) -> RecordedReports:
    """Write starts and ends.

    What cannot be written fails alone, and after several times its job is given up as unreadable.
    """
    news = [one for one in told if one.move is not None]
    if not news:
        return RecordedReports()
    try:
        return RecordedReports(await _record(deps, news))
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the other jobs go on
        if len(news) > 1:
            parts = [await record(deps, [one]) for one in news]
            took = [one for part in parts for one in part.took]
            return RecordedReports(took, frozenset(id_ for part in parts for id_ in part.failed))
        deps.slots.report("poll", error)
        return await strike(deps, news[0])


async def strike(deps: Deps, one: JobReport) -> RecordedReports:
    """Count that the handling of a job broke down, and give it up after several times."""
    async with deps.db.single() as tx:
        strikes = (await job_strikes.strike(tx, [one.job.id])).get(one.job.id, 0)
    if strikes < deps.policy.strikes or one.move == unreadable():
        return RecordedReports(failed=frozenset({one.job.id}))
    return await record(deps, [JobReport(one.job, unreadable())])


async def _record(deps: Deps, told: Sequence[JobReport]) -> list[tuple[str, float]]:
    ends = [
        ending(one.job.id, one.move, made_at=one.made_at)
        for one in told
        if isinstance(one.move, Finish)
    ]
    starts = [
        (one.job.id, one.move.started_at, one.made_at)
        for one in told
        if isinstance(one.move, Start)
    ]
    async with deps.db.begin() as tx:
        started = await polls.started(tx, starts) if starts else []
        owed = await publish_jobs(tx, deps, [(JOB_STARTED, j) for j in started]) if started else 0
        settled = await settle(tx, deps, ends)
        deps.crash_point("poll.settled")
    deps.crash_point("poll.committed")
    if owed:
        deps.queue.wake("deliver")
    announce_jobs(deps, [job.id for job in started])
    announce_feed(deps, [job.tenant_id for job in started])
    announce(deps, settled)
    if settled.jobs:
        # An end makes room at the upstream for a job that waits.
        deps.queue.wake("submit")
    seconds = {one.job.id: one.job.age if one.took is None else one.took for one in told}
    return [(job.workflow, seconds[job.id]) for job in settled.jobs]
