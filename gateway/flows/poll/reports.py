"""Reports: what the upstream's answers mean for the jobs that await them.

Every poll ends here: starts and ends are written in one transaction with their events, deliveries
and usage. Of two processes that report the same end, one writes it.
A report that cannot be read or written fails alone and gives its job a strike. After
`Policy.strikes` of them the job fails as unreadable. A crash before the commit leaves the job as it
was, and the next poll brings the same report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.core.events import JOB_STARTED
from gateway.core.lifecycle import Finish, JobFailure, Start, after_poll, error_of, unreadable
from gateway.core.model import Job, JobState
from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.flows.settle.settlement import announce, ending, publish_jobs, settle
from gateway.flows.settle.watchers import announce_feed, announce_jobs
from gateway.ports import UpstreamJob
from gateway.store.work import job_strikes, polls
from gateway.store.work.polls import AtUpstream


@dataclass(frozen=True, slots=True)
class JobReport:
    """A job and what was learned about it; `move` is None if its state does not change.

    `took` is how many seconds it took, and `made_at` when it was made, both by the upstream's clock;
    None if the upstream does not say.
    """

    job: AtUpstream
    move: Finish | Start | None
    took: float | None = None
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecordedReports:
    """What was written: (workflow, seconds) of the jobs that ended. `failed` was not written."""

    took: Sequence[tuple[str, float]] = ()
    failed: frozenset[UUID] = frozenset()


def read(deps: Deps, job: AtUpstream, report: UpstreamJob) -> JobReport | None:
    """Decide what a full report means for a job; None if the report cannot be read."""
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
    """How long the job itself took, however late the poll noticed its end."""
    if report.created_at is None or report.completed_at is None:
        return None
    return max((report.completed_at - report.created_at).total_seconds(), 0.0)


async def record(
    deps: Deps, news: Sequence[JobReport], *, began_at: float | None = None
) -> RecordedReports:
    """Write starts and ends in one transaction. `began_at` is when their round began.

    If that fails, each is written alone. One that fails alone gets a strike; with too many its job
    fails as unreadable. Raises Unavailable if the database cannot be reached.
    """
    moves = [report for report in news if report.move is not None]
    if not moves:
        return RecordedReports()
    try:
        return RecordedReports(await _record(deps, moves, began_at))
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the other jobs go on
        if len(moves) > 1:
            parts = [await record(deps, [report], began_at=began_at) for report in moves]
            took = [one for part in parts for one in part.took]
            return RecordedReports(took, frozenset(id_ for part in parts for id_ in part.failed))
        deps.slots.report("poll", error)
        return await strike(deps, moves[0])


async def strike(deps: Deps, report: JobReport) -> RecordedReports:
    """Count that the handling of a report failed; a job with too many strikes is given up."""
    job = report.job
    async with deps.db.single() as tx:
        strikes = (await job_strikes.strike(tx, [job.id])).get(job.id, 0)
    if strikes < deps.policy.strikes or report.move == unreadable():
        return RecordedReports(failed=frozenset({job.id}))
    return await record(deps, [JobReport(job, unreadable())])


async def _record(
    deps: Deps, moves: Sequence[JobReport], began_at: float | None
) -> list[tuple[str, float]]:
    ends = [
        ending(report.job.id, report.move, made_at=report.made_at)
        for report in moves
        if isinstance(report.move, Finish)
    ]
    starts = [
        (report.job.id, report.move.started_at, report.made_at)
        for report in moves
        if isinstance(report.move, Start)
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
    _trace(deps, [*started, *settled.jobs], began_at)
    announce(deps, settled)
    if settled.jobs:
        # Each end makes room at the upstream for a job that waits.
        deps.queue.wake("submit")
    seconds = {
        report.job.id: report.job.age if report.took is None else report.took for report in moves
    }
    return [(job.workflow, seconds[job.id]) for job in settled.jobs]


def _trace(deps: Deps, jobs: Sequence[Job], began_at: float | None) -> None:
    """Show the round in the trace of each job that it brought news of."""
    if deps.tracer is None:
        return
    ago = 0.0 if began_at is None else deps.clock.monotonic() - began_at
    for job in jobs:
        if span := deps.span("poll", job.traceparent, ago=ago):
            of = {"tenant_id": job.tenant_id, "credential_id": job.credential_id}
            span.end(job.state.value, job_id=job.id, **of)
