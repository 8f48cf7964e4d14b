"""What a job waits for: a stable code, and a sentence that a person can act on. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.core.model import JobState

_LONGEST_REASON = 300
_FARTHEST = 10_000


class WaitCode(StrEnum):
    """Why a job does not proceed now."""

    NO_WORKER = "NO_WORKER"
    TENANT_SUSPENDED = "TENANT_SUSPENDED"
    CREDENTIAL_MISSING = "CREDENTIAL_MISSING"
    CREDENTIAL_REJECTED = "CREDENTIAL_REJECTED"
    CREDENTIAL_UNUSABLE = "CREDENTIAL_UNUSABLE"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    UPSTREAM_BUSY = "UPSTREAM_BUSY"
    RETRY_LATER = "RETRY_LATER"
    IN_FLIGHT_CAP = "IN_FLIGHT_CAP"
    LOOKUP = "LOOKUP"
    UPSTREAM_QUEUED = "UPSTREAM_QUEUED"
    TURN = "TURN"


@dataclass(frozen=True, slots=True)
class Wait:
    """What a job waits for; `until` when it ends, and `position` as the number of jobs before it."""

    code: WaitCode
    message: str
    until: datetime | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """A job that has not ended, with everything that may hold it up, at one moment.

    The credential is the one of its next call. `place` is how many jobs of its tenant go before it,
    None where that does not matter.
    """

    state: JobState
    now: datetime
    next_at: datetime
    is_leased: bool
    suspended_at: datetime | None
    in_flight: int
    most_in_flight: int
    has_credential: bool
    rejected_reason: str | None
    is_rejected: bool
    failures: int
    paused_until: datetime | None
    room: int | None
    worker_seen_at: datetime | None
    has_worker: bool
    last_note: str | None
    place: int | None = None


def wait_of(job: Situation, *, breaker: int) -> Wait | None:
    """What a job waits for; None while it is being submitted, and while it runs at the upstream.

    `breaker` is after how many failures in a row a credential's circuit breaker opens.
    """
    if job.state is JobState.SUBMITTING and job.is_leased and job.next_at > job.now:
        return None
    found = next(_obstacles(job, breaker), None)
    if found is not None:
        return found
    if job.state is JobState.SUBMITTED:
        text = "The upstream has accepted the job and has not begun to work on it."
        return Wait(WaitCode.UPSTREAM_QUEUED, text)
    if job.state is JobState.RUNNING:
        return None
    if job.state is JobState.SUBMITTING:
        return _lookup(job)
    return _turn(job)


def _obstacles(job: Situation, breaker: int) -> Iterator[Wait]:
    """What holds up a job, the most serious first."""
    if not job.has_worker:
        yield _no_worker(job.worker_seen_at)
    if job.state is JobState.ACCEPTED and job.suspended_at is not None:
        since = _time(job.suspended_at)
        text = f"The tenant is suspended since {since}, so its jobs are not submitted."
        yield Wait(WaitCode.TENANT_SUSPENDED, text)
    if not job.has_credential:
        text = "The tenant has no credential for the upstream. An operator has to put one first."
        yield Wait(WaitCode.CREDENTIAL_MISSING, text)
    until = job.paused_until if job.paused_until and job.paused_until > job.now else None
    if job.is_rejected:
        yield _rejected(job, until)
    if until is not None:
        yield _paused(job, until, is_open=job.failures >= breaker)
    if job.state is JobState.ACCEPTED:
        yield from _of_queue(job)


def _of_queue(job: Situation) -> Iterator[Wait]:
    if job.next_at > job.now:
        text = f"The upstream could not take the job; it is tried again at {_time(job.next_at)}"
        yield Wait(WaitCode.RETRY_LATER, f"{text}{_reason(job.last_note)}.", job.next_at)
    if job.in_flight >= job.most_in_flight:
        text = f"The tenant has {job.in_flight} jobs at the upstream, as many as it may have"
        yield Wait(WaitCode.IN_FLIGHT_CAP, f"{text}; {_in_line(job)}.", position=job.place)
    if job.room is not None and job.place is not None and job.place >= job.room:
        text = f"After trouble at the upstream only {job.room} jobs are sent at a time"
        yield Wait(WaitCode.UPSTREAM_BUSY, f"{text}; {_in_line(job)}.", position=job.place)


def _no_worker(seen_at: datetime | None) -> Wait:
    since = "ever" if seen_at is None else f"since {_time(seen_at)}"
    return Wait(
        WaitCode.NO_WORKER, f"No worker of the gateway was seen {since}, so nothing goes on."
    )


def _rejected(job: Situation, until: datetime | None) -> Wait:
    again = f"It is tried again at {_time(until)}" if until else "It is being tried again"
    text = f"The upstream does not accept the tenant's credential{_reason(job.rejected_reason)}."
    return Wait(WaitCode.CREDENTIAL_REJECTED, f"{text} {again}.", until)


def _paused(job: Situation, until: datetime, *, is_open: bool) -> Wait:
    if not job.failures:  # no master key opens it, which is the gateway's fault
        text = f"The gateway cannot use the tenant's credential. It tries again at {_time(until)}."
        return Wait(WaitCode.CREDENTIAL_UNUSABLE, text, until)
    why = _reason(job.last_note)
    if is_open:
        text = f"The upstream failed {job.failures} times in a row{why}, so it is left alone"
        return Wait(WaitCode.CIRCUIT_OPEN, f"{text} until {_time(until)}.", until)
    text = f"The upstream is busy{why}. It is asked again at {_time(until)}."
    return Wait(WaitCode.UPSTREAM_BUSY, text, until)


def _lookup(job: Situation) -> Wait:
    text = "Whether the upstream took the job is not known"
    if job.next_at > job.now:
        return Wait(
            WaitCode.LOOKUP, f"{text}. It is looked up at {_time(job.next_at)}.", job.next_at
        )
    return Wait(WaitCode.LOOKUP, f"{text}. It is looked up next.")


def _turn(job: Situation) -> Wait:
    return Wait(WaitCode.TURN, f"The job waits for its turn: {_in_line(job)}.", position=job.place)


def _in_line(job: Situation) -> str:
    if not job.place:
        return "it is the next one"
    jobs = f"{job.place:,} or more jobs" if job.place >= _FARTHEST else f"{job.place:,} jobs"
    return f"{jobs if job.place > 1 else '1 job'} of the tenant go before it"


def _reason(text: str | None) -> str:
    return f" ({text[:_LONGEST_REASON].rstrip('.')})" if text else ""


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
