"""What came of one submit, and what that means for its row."""

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
    """The gateway itself failed, maybe after the request was sent."""

    reason: str


Answer = Submitted | Refused | Trouble | Sealed | Broken


@dataclass(frozen=True, slots=True)
class SubmitOutcome:
    """A job and what the upstream said to it."""

    job: ToSubmit
    token: UUID
    answer: Answer


def back(one: SubmitOutcome, rest: float) -> Back | None:
    """How a job that was certainly not taken waits; None where it was, or nobody knows."""
    match one.answer:
        case Denied() | Sealed():
            # The credential is at fault, so the job waits without having used an attempt.
            return Back(one.job.id, one.token, 0.0, counted=False)
        case Busy():
            return Back(one.job.id, one.token, rest, counted=True)
        case Submitted() | Refused() | Unknown() | Broken():
            return None
        case _:
            assert_never(one.answer)


def doubt(one: SubmitOutcome, delay: float) -> Doubt | None:
    """How a job is looked up of which nobody knows; None where its outcome is clear."""
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
    """What the timeline says of it, as (type, detail)."""
    match answer:
        case Submitted() | Refused() | Sealed():  # which is no affair of the tenant
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
    """What the log says of it."""
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
    """Group by credential, in one order for everybody: writers must not deadlock."""
    groups: defaultdict[UUID, list[SubmitOutcome]] = defaultdict(list)
    for one in sent:
        groups[one.job.credential_id].append(one)
    return [groups[credential_id] for credential_id in sorted(groups)]
