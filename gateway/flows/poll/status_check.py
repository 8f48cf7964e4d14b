"""Check single jobs by their own status, without the list.

A check is one light call for the status, and one for the whole job once it has ended. A round uses
it for few jobs, for what the list did not show, for a probe, and for jobs in isolation.
A job that is absent or unreadable several times in a row is given up, never at the first time.
A crash between call and record loses nothing: the next round checks the job again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.lifecycle import Finish, Start, lost, out_of_reach, unreadable
from gateway.core.model import JobState
from gateway.core.schedule.backoff import absence_delay
from gateway.core.schedule.polling import status_delay
from gateway.flows.deps import Deps
from gateway.flows.poll import reports
from gateway.flows.poll.reports import JobReport
from gateway.flows.poll.state import RoundState
from gateway.ports import Absent, Access, Trouble, Unknown, UpstreamJob
from gateway.store.work import polls
from gateway.store.work.polls import AtUpstream, JobPosition

ENDS = ("SUCCEEDED", "FAILED")
# How many jobs one round looks at, where each is checked by itself.
WALK_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class StatusCheck:
    """What checking one job gave; the job may be checked again in `delay` seconds.

    `is_broken` is set if the answer could not be read.
    """

    job: AtUpstream
    calls: int
    delay: float
    report: JobReport | None = None
    trouble: Trouble | None = None
    absences: int = 0
    is_broken: bool = False


async def jobs_to_check(state: RoundState, limit: int) -> list[AtUpstream]:
    """The next jobs that are due for a check, from where the last round stopped; at most `limit`."""
    after = state.memory.next_check
    async with state.deps.db.single() as tx:
        jobs = await polls.walk(tx, state.credential.id, after, WALK_LIMIT)
        left = 0 if after == JobPosition() else WALK_LIMIT - len(jobs)
        if left:
            jobs += await polls.walk(tx, state.credential.id, JobPosition(), left)
    due = [job for job in {job.id: job for job in jobs}.values() if job.due][:limit]
    state.memory.next_check = due[-1].place if due else JobPosition()
    return due


async def check_jobs(state: RoundState, access: Access, jobs: Sequence[AtUpstream]) -> None:
    """Check jobs at the same time and write what is learned; nothing once the round met trouble."""
    if not jobs or state.troubles:
        return
    deps = state.deps
    checks = await asyncio.gather(
        *(check_status(deps, access, job, is_substitute=state.is_substitute) for job in jobs)
    )
    state.calls += sum(check.calls for check in checks)
    state.troubles += [check.trouble for check in checks if check.trouble is not None]
    deps.crash_point("poll.answered")
    await state.record([check.report for check in checks if check.report is not None])
    for check in checks:
        if check.is_broken:
            await reports.strike(deps, JobReport(check.job, None))
    async with deps.db.single() as tx:
        await polls.ask_later(tx, [(one.job.id, one.delay, one.absences) for one in checks])


async def check_status(
    deps: Deps, access: Access, job: AtUpstream, *, is_substitute: bool
) -> StatusCheck:
    """Ask the upstream for the status of a job, and for the whole job if it has ended.

    A substitute credential may not see a job that is there, so an absent job ends as out of reach.
    """
    if_gone = out_of_reach() if is_substitute else lost()
    answer = await deps.upstream.status(access, job.upstream_id)
    if answer in ENDS:
        whole = await deps.upstream.fetch(access, job.upstream_id)
        return _judge(deps, job, 2, whole, if_gone)
    return _judge(deps, job, 1, answer, if_gone)


def _judge(
    deps: Deps,
    job: AtUpstream,
    calls: int,
    answer: str | UpstreamJob | Absent | Trouble,
    if_gone: Finish,
) -> StatusCheck:
    delay = status_delay(job.age, deps.policy)
    match answer:
        case UpstreamJob():
            report = reports.read(deps, job, answer)
            return StatusCheck(job, calls, delay, report, is_broken=report is None)
        case str():
            has_started = answer == "STARTED" and job.state == JobState.SUBMITTED
            report = JobReport(job, Start(None)) if has_started else None
            return StatusCheck(job, calls, delay, report)
        case Absent():
            return _count_absence(deps, job, calls, if_gone)
        case Unknown(unreadable=True):
            return _count_absence(deps, job, calls, unreadable())
        case _:
            return StatusCheck(
                job, calls, deps.policy.poll_min, trouble=answer, absences=job.absences
            )


def _count_absence(deps: Deps, job: AtUpstream, calls: int, end: Finish) -> StatusCheck:
    """Count that a job could not be had; its `end` comes only after several times."""
    absences = job.absences + 1
    delay = absence_delay(absences, deps.policy)
    report = JobReport(job, end) if delay is None else None
    return StatusCheck(job, calls, delay or deps.policy.poll_min, report, absences=absences)
