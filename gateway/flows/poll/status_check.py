"""Ask about one job at the upstream by itself."""

from dataclasses import dataclass

from gateway.core.lifecycle import Finish, Start, lost, out_of_reach, unreadable
from gateway.core.model import JobState
from gateway.core.schedule import absence_delay, status_delay
from gateway.flows.deps import Deps
from gateway.flows.poll import reports
from gateway.flows.poll.reports import JobReport
from gateway.ports import Absent, Access, Trouble, Unknown, UpstreamJob
from gateway.store.work.polls import AtUpstream

ENDS = ("SUCCEEDED", "FAILED")


@dataclass(frozen=True, slots=True)
class StatusCheck:
    """What one job's answer came to, and in how many seconds it is asked about again.

    Of one that is broken the reader broke down.
    """

    job: AtUpstream
    calls: int
    delay: float
    told: JobReport | None = None
    trouble: Trouble | None = None
    absences: int = 0
    is_broken: bool = False


async def check_status(
    deps: Deps, access: Access, job: AtUpstream, *, is_substitute: bool
) -> StatusCheck:
    """Ask for the status, which is light, and for the whole job once it has ended.

    With a credential that is lent, a job that is not there may be one that it cannot see.
    """
    gone = out_of_reach() if is_substitute else lost()
    answer = await deps.upstream.status(access, job.upstream_id)
    if answer in ENDS:
        return _heard(deps, job, 2, await deps.upstream.fetch(access, job.upstream_id), gone)
    return _heard(deps, job, 1, answer, gone)


def _heard(
    deps: Deps,
    job: AtUpstream,
    calls: int,
    answer: str | UpstreamJob | Absent | Trouble,
    gone: Finish,
) -> StatusCheck:
    delay = status_delay(job.age, deps.policy)
    match answer:
        case UpstreamJob():
            told = reports.read(deps, job, answer)
            return StatusCheck(job, calls, delay, told, is_broken=told is None)
        case str():
            started = answer == "STARTED" and job.state == JobState.SUBMITTED
            return StatusCheck(job, calls, delay, JobReport(job, Start(None)) if started else None)
        case Absent():
            return _doubtful(deps, job, calls, gone)
        case Unknown(unreadable=True):
            return _doubtful(deps, job, calls, unreadable())
        case _:
            return StatusCheck(
                job, calls, deps.policy.poll_min, trouble=answer, absences=job.absences
            )


def _doubtful(deps: Deps, job: AtUpstream, calls: int, end: Finish) -> StatusCheck:
    """A job that cannot be had is given up only when that was said several times."""
    seen = job.absences + 1
    delay = absence_delay(seen, deps.policy)
    told = JobReport(job, end) if delay is None else None
    return StatusCheck(job, calls, delay or deps.policy.poll_min, told, absences=seen)
