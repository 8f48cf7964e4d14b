"""Outcomes of a submit, and what each means for its row, its timeline and the log. Pure.

| answer | the row |
|---|---|
| Submitted | submitted |
| Refused (4xx) | failed, with the upstream's own error |
| Denied (401, 402, 403), Sealed | accepted again; the attempt does not count |
| Busy (429, connection refused) | accepted again, after the credential's back-off |
| Unknown (timeout, reset, 5xx), Broken | in doubt: looked up before it is sent again |
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never
from uuid import UUID

from gateway.core.lifecycle import Finish, error_of
from gateway.core.model import JobState
from gateway.ports import Busy, Denied, Refused, Sealed, Submitted, Trouble, Unknown
from gateway.store.work.submits import Back, Doubt, ToSubmit


@dataclass(frozen=True, slots=True)
class Broken:
    """The gateway itself failed, possibly after the request was sent."""

    reason: str


Answer = Submitted | Refused | Trouble | Sealed | Broken


@dataclass(frozen=True, slots=True)
class SubmitOutcome:
    """A job, the lease token that it was claimed under, and the upstream's answer."""

    job: ToSubmit
    token: UUID
    answer: Answer


def back(one: SubmitOutcome, rest: float) -> Back | None:
    """The row of a job that the upstream certainly did not take, back in the queue; None otherwise."""
    match one.answer:
        case Denied() | Sealed():
            # The credential is at fault, so the attempt does not count.
            return Back(one.job.id, one.token, 0.0, counted=False)
        case Busy():
            return Back(one.job.id, one.token, rest, counted=True)
        case Submitted() | Refused() | Unknown() | Broken():
            return None
        case _:
            assert_never(one.answer)


def doubt(one: SubmitOutcome, delay: float) -> Doubt | None:
    """The row of a job that is in doubt, with its next lookup; None where the outcome is clear."""
    match one.answer:
        case Unknown():
            return Doubt(one.job.id, one.token, delay, 0)
        case Broken():
            return Doubt(one.job.id, one.token, delay, 0, one.job.strikes)
        case _:
            return None


def refusal(refused: Refused) -> Finish:
    """The end of a job that the upstream will never take."""
    problem = refused.problem
    return Finish(JobState.FAILED, error=error_of(problem.code, problem.title, problem.message))


def note(answer: Answer) -> list[tuple[str, str]]:
    """The notes for the timeline, as (type, detail)."""
    match answer:
        case Submitted() | Refused() | Sealed():  # nothing that the tenant can act on
            return []
        case Denied():
            return [("credential.rejected", answer.problem.message)]
        case Busy():
            return [("submit.postponed", answer.reason)]
        case Unknown() | Broken():
            return [("submit.in_doubt", answer.reason)]
        case _:
            assert_never(answer)


def reason(answer: Answer) -> str | None:
    """The reason for the log; None where there is none."""
    match answer:
        case Submitted():
            return None
        case Refused() | Denied():
            return f"{answer.problem.code}: {answer.problem.message}"
        case Busy() | Unknown() | Broken() | Sealed():
            return answer.reason
        case _:
            assert_never(answer)


def by_credential(sent: Sequence[SubmitOutcome]) -> list[list[SubmitOutcome]]:
    """Group by credential, in the order of their ids: all writers lock in that order (deadlocks)."""
    groups: defaultdict[UUID, list[SubmitOutcome]] = defaultdict(list)
    for one in sent:
        groups[one.job.credential_id].append(one)
    return [groups[credential_id] for credential_id in sorted(groups)]
