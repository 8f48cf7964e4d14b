"""Submit: take due jobs to the upstream, each at most once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never
from uuid import UUID

from gateway.core.lifecycle import Finish, error_of
from gateway.core.model import JobState
from gateway.core.submission import with_marker
from gateway.flows.deps import Deps
from gateway.flows.group_commit import GroupCommit
from gateway.flows.health import Standing, is_unwell, judge_credential
from gateway.flows.patience import patiently
from gateway.flows.settle import Settled, announce, ending, settle
from gateway.ports import (
    Busy,
    Denied,
    Refused,
    Submission,
    Submitted,
    Trouble,
    Unknown,
    Verb,
)
from gateway.store import history, polls, submits
from gateway.store.engine import Tx
from gateway.store.history import NewNote
from gateway.store.submits import Back, Doubt, ToSubmit

VERB: Verb = "submit"
_LINGER = 0.03
_WRITERS = 2
# A longer wait than this is left to the sweep.
_WAKE_WITHIN = 60.0

Answer = Submitted | Refused | Trouble


@dataclass(frozen=True, slots=True)
class Sent:
    """A job and what the upstream said to it."""

    job: ToSubmit
    token: UUID
    answer: Answer


class Submitter:
    """Submits for one process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._record = GroupCommit(
            self._write, batch=deps.policy.batch, writers=_WRITERS, linger=_LINGER
        )

    async def claim(self, room: int) -> int:
        """Claim due jobs, start to submit them, and say how many."""
        deps, policy = self._deps, self._deps.policy
        claimed_at, token = deps.clock.monotonic(), deps.ids.uuid()
        async with deps.db.single() as tx:
            jobs = await submits.claim(
                tx,
                min(room, policy.batch),
                quantum=policy.quantum,
                in_flight=policy.max_in_flight,
                lease=policy.lease,
                breaker=policy.breaker_failures,
                token=token,
            )
        if jobs:
            deps.reached("submit.claimed")
        for job in jobs:
            deps.slots.start(VERB, self._submit(job, token, claimed_at))
        return len(jobs)

    async def _submit(self, job: ToSubmit, token: UUID, claimed_at: float) -> None:
        deps = self._deps
        started = deps.clock.monotonic()
        answer = await self._send(job, claimed_at + deps.policy.lease - deps.policy.lease_margin)
        deps.reached("submit.sent")
        sent = Sent(job, token, answer)
        until = claimed_at + deps.policy.lease
        await patiently(deps.clock, until, lambda: self._record.add(sent))
        deps.observer.done(
            "submit",
            type(answer).__name__.lower(),
            seconds=deps.clock.monotonic() - started,
            job_id=job.id,
            tenant_id=job.tenant_id,
            credential_id=job.credential_id,
            reason=_reason(answer),
        )

    async def _send(self, job: ToSubmit, not_after: float) -> Answer:
        deps = self._deps
        access = deps.access(
            job.tenant_id, job.credential_id, job.credential_version, job.base_url, job.sealed
        )
        if isinstance(access, Denied):
            return access
        submission = Submission(
            job.name,
            job.workflow,
            job.params,
            with_marker(job.metadata, job.id),
            job.copy_results_to,
        )
        if deps.clock.monotonic() > not_after:
            # This process stood still for so long that somebody else may act on the row by now.
            return Unknown("the lease was nearly over before the request began")
        return await deps.upstream.submit(access, submission)

    async def _write(self, sent: list[Sent]) -> list[None]:
        deps = self._deps
        taken = {one.job.credential_id for one in sent if isinstance(one.answer, Submitted)}
        async with deps.db.begin() as tx:
            settled = await self._record_jobs(tx, sent)
            rests = [await self._record_trouble(tx, group) for group in _by_credential(sent)]
            if taken:
                await polls.poll_soon(tx, sorted(taken), deps.policy.poll_min)
            deps.reached("submit.recorded")
        deps.reached("submit.committed")
        announce(deps, settled)
        if taken:
            deps.queue.wake("poll", after=deps.policy.poll_min)
        for rest in rests:
            if 0.0 < rest <= _WAKE_WITHIN:
                deps.queue.wake("submit", after=rest)
        return [None] * len(sent)

    async def _record_jobs(self, tx: Tx, sent: Sequence[Sent]) -> Settled:
        taken = [
            (one.job.id, one.token, one.answer.upstream_id)
            for one in sent
            if isinstance(one.answer, Submitted)
        ]
        if taken:
            await submits.submitted(tx, taken)
        refused = [
            ending(one.job.id, _refusal(one.answer), one.token)
            for one in sent
            if isinstance(one.answer, Refused)
        ]
        return await settle(tx, self._deps, refused)

    async def _record_trouble(self, tx: Tx, sent: Sequence[Sent]) -> float:
        """Seconds until the jobs of one credential that were not taken are looked at again."""
        first = sent[0].job
        standing = Standing(
            first.credential_id,
            first.tenant_id,
            first.credential_version,
            first.failures,
            first.rejected,
        )
        clear = all(isinstance(one.answer, (Submitted, Refused)) for one in sent)
        if clear and not is_unwell(standing):
            return 0.0
        rest = await judge_credential(tx, self._deps, standing, [one.answer for one in sent])
        await self._put_back(tx, sent, rest)
        in_doubt = any(isinstance(one.answer, Unknown) for one in sent)
        return max(rest, self._deps.policy.lookup_delay) if in_doubt else rest

    async def _put_back(self, tx: Tx, sent: Sequence[Sent], rest: float) -> None:
        backs = [back for one in sent if (back := _back(one, rest)) is not None]
        if backs:
            await submits.back(tx, backs)
        delay = max(self._deps.policy.lookup_delay, rest)
        doubts = [
            Doubt(one.job.id, one.token, delay, 0)
            for one in sent
            if isinstance(one.answer, Unknown)
        ]
        if doubts:
            await submits.doubt(tx, doubts)
        notes = [
            NewNote(self._deps.ids.uuid(), one.job.tenant_id, one.job.id, kind, reason)
            for one in sent
            for kind, reason in _note(one.answer)
        ]
        if notes:
            await history.add_notes(tx, notes)


def _back(one: Sent, rest: float) -> Back | None:
    match one.answer:
        case Denied():
            # The credential is at fault, so the job waits without having used an attempt.
            return Back(one.job.id, one.token, 0.0, counted=False)
        case Busy():
            return Back(one.job.id, one.token, rest, counted=True)
        case Submitted() | Refused() | Unknown():
            return None
        case _:
            assert_never(one.answer)


def _refusal(refused: Refused) -> Finish:
    problem = refused.problem
    return Finish(JobState.FAILED, error=error_of(problem.code, problem.title, problem.message))


def _note(answer: Answer) -> list[tuple[str, str]]:
    match answer:
        case Submitted() | Refused():
            return []
        case Denied():
            return [("credential.rejected", answer.problem.message)]
        case Busy():
            return [("submit.postponed", answer.reason)]
        case Unknown():
            return [("submit.in_doubt", answer.reason)]
        case _:
            assert_never(answer)


def _reason(answer: Answer) -> str | None:
    match answer:
        case Submitted():
            return None
        case Refused() | Denied():
            return f"{answer.problem.code}: {answer.problem.message}"
        case Busy() | Unknown():
            return answer.reason
        case _:
            assert_never(answer)


def _by_credential(sent: Sequence[Sent]) -> list[list[Sent]]:
    groups: defaultdict[UUID, list[Sent]] = defaultdict(list)
    for one in sent:
        groups[one.job.credential_id].append(one)
    # In one order for everybody: two writers that touch the same credentials must not deadlock.
    return [groups[credential_id] for credential_id in sorted(groups)]
