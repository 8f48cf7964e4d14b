"""The states of a job, and what moves it.

| state | moved in by | moved out by | what a crash there leaves, and who repairs it |
|---|---|---|---|
| accepted | accept; submit, when not taken | submit, delete, sweep (deadline) | a row without a wake-up: sweep wakes |
| submitting | submit, before the call | submit, after it | in doubt: once the lease ends, reconcile looks it up |
| submitted | submit | poll, delete, sweep | the credential's lease ends; polled again |
| running | poll | poll, delete, sweep | the same |
| succeeded, failed, cancelled, expired | settle | nobody | row, event and deliveries exist together |
"""

import json
from dataclasses import dataclass
from datetime import datetime

from gateway.core.model import JobState

ORIGIN_CALLER = "caller"
ORIGIN_GATEWAY = "gateway"
ORIGIN_UPSTREAM = "upstream"

_RETRYABLE_CODES = frozenset({"TIMEOUT", "INTERNAL_ERROR", "RATE_LIMITED", "UPSTREAM_LOST"})
_CALLER_CODES = frozenset({"BAD_INPUT", "CANCELLED", "DEADLINE_EXCEEDED"})


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed: a stable `code`, and sentences for people."""

    code: str
    title: str
    message: str
    origin: str
    retryable: bool

    def json(self) -> str:
        """The `error` member of a job."""
        return json.dumps(
            {
                "code": self.code,
                "title": self.title,
                "message": self.message,
                "origin": self.origin,
                "retryable": self.retryable,
            },
            ensure_ascii=False,
        )


@dataclass(frozen=True, slots=True)
class Finish:
    """A job reaches its end."""

    state: JobState
    result: str | None = None
    error: JobFailure | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A job was seen to run."""

    started_at: datetime | None


def error_of(code: str, title: str, message: str) -> JobFailure:
    """Add to an upstream reason its origin, and whether a retry may help."""
    origin = ORIGIN_CALLER if code in _CALLER_CODES else ORIGIN_UPSTREAM
    return JobFailure(code, title, message, origin, code in _RETRYABLE_CODES)


def after_poll(
    state: JobState,
    status: str,
    *,
    result: str | None,
    error: JobFailure | None,
    started_at: datetime | None,
    completed_at: datetime | None,
) -> Finish | Start | None:
    """Decide what an upstream status means for a job; None when it changes nothing.

    A job never goes backwards, and a status that is not known is never an end. Only a job that
    failed has an error.
    """
    if status == "SUCCEEDED":
        return Finish(JobState.SUCCEEDED, result, None, started_at, completed_at)
    if status == "FAILED":
        reason = error or error_of("UNKNOWN", "Unknown error", "The upstream gave no reason.")
        return Finish(JobState.FAILED, result, reason, started_at, completed_at)
    if status == "STARTED" and state is JobState.SUBMITTED:
        return Start(started_at)
    return None


def expired() -> Finish:
    """The end of a job that outlived its deadline."""
    return Finish(
        JobState.EXPIRED,
        error=JobFailure(
            "DEADLINE_EXCEEDED",
            "Deadline exceeded",
            "The job did not finish before its deadline. Give it more time, or find out why it "
            "waited so long from its timeline.",
            ORIGIN_GATEWAY,
            retryable=True,
        ),
    )


def cancelled() -> Finish:
    """The end of a job that its caller deleted before it finished."""
    return Finish(
        JobState.CANCELLED,
        error=JobFailure(
            "CANCELLED",
            "Cancelled",
            "The job was deleted before it finished.",
            ORIGIN_CALLER,
            False,
        ),
    )


def lost() -> Finish:
    """The end of a job that the upstream took and then no longer knew."""
    return Finish(
        JobState.FAILED,
        error=JobFailure(
            "UPSTREAM_LOST",
            "Lost upstream",
            "The upstream accepted the job and later said, several times, that it has no such job.",
            ORIGIN_UPSTREAM,
            retryable=True,
        ),
    )


def unreadable() -> Finish:
    """The end of a job whose upstream report the gateway cannot store."""
    return Finish(
        JobState.FAILED,
        error=JobFailure(
            "UPSTREAM_UNREADABLE",
            "Unreadable result",
            "The upstream finished the job, but its report cannot be read or is too large.",
            ORIGIN_UPSTREAM,
            retryable=True,
        ),
    )


def out_of_reach() -> Finish:
    """The end of a job whose credential was revoked upstream, and that no later one can see."""
    return Finish(
        JobState.FAILED,
        error=JobFailure(
            "UPSTREAM_LOST",
            "Out of reach upstream",
            "The credential that the job was submitted with is revoked, and the tenant's present "
            "one does not show the job. It may have run; retry it if its result is needed.",
            ORIGIN_UPSTREAM,
            retryable=True,
        ),
    )


def given_up(strikes: int) -> Finish:
    """The end of a job that the gateway began to submit several times and never came to an end."""
    return Finish(
        JobState.FAILED,
        error=JobFailure(
            "GATEWAY_FAULT",
            "Given up by the gateway",
            f"The gateway began to submit the job {strikes} times and broke down each time. The "
            "upstream does not have it. This is a fault of the gateway: report it with the job's "
            "id, then retry the job.",
            ORIGIN_GATEWAY,
            retryable=True,
        ),
    )
