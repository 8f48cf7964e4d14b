"""Submit: send due jobs to the upstream, each at most once ("effectively once").

Runs in every worker, started by wake-ups and by the sweep. A claim commits the state `submitting`
before the call, so a job whose outcome is unknown is known to be in doubt; it is looked up before it is
sent again (reconcile.py). The outcome is written under the lease token. A crash after the claim
leaves jobs in `submitting`; when their lease has lapsed they are in doubt and are reconciled. Jobs
that were claimed several times without an outcome are quarantined: they run alone.
"""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from gateway.core.upstream_metadata import with_marker
from gateway.flows.claim.lease import claiming
from gateway.flows.claim.mark_in_doubt import mark_waiting_in_doubt
from gateway.flows.claim.retry_unavailable import retry_while_unavailable
from gateway.flows.deps import Deps
from gateway.flows.process.group_commit import GroupCommit
from gateway.flows.process.restore_detector import is_behind
from gateway.flows.settle.settlement import Settled, announce, ending, settle
from gateway.flows.settle.watchers import announce_jobs
from gateway.flows.submit.outcome import (
    Answer,
    Broken,
    SubmitOutcome,
    back,
    by_credential,
    doubt,
    note,
    reason,
    refusal,
)
from gateway.flows.upstream.circuit_breaker import CredentialHealth, is_failing, judge_credential
from gateway.ports import Refused, Sealed, Span, Submission, Submitted, Unknown, Verb
from gateway.store.database import Tx
from gateway.store.job_search import lists
from gateway.store.job_search.lists import NewNote
from gateway.store.work import polls, submits
from gateway.store.work.submits import ToSubmit

VERB: Verb = "submit"
_WRITERS = 2
# The sweep finds jobs whose wait is longer than this.
_WAKE_WITHIN = 60.0


class Submitter:
    """The submitter of one process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._record = GroupCommit(
            self._write, batch=deps.policy.batch, writers=_WRITERS, linger=deps.policy.submit_linger
        )

    async def claim(self, room: int) -> int:
        """Claim due jobs, start a task for each, and return how many there are."""
        return await self._claim(room, suspects=False)

    async def claim_quarantined(self) -> bool:
        """Claim one quarantined job and submit it alone; False where there is none.

        Processes crashed, or seemed to crash, while they submitted it.
        """
        async with self._deps.db.single() as tx:
            if not (await submits.due(tx)).suspects:
                return False
            if not await submits.has_suspects(tx, self._deps.policy.suspicious):
                return False
        await self._deps.slots.wait_idle(VERB, self._deps.policy.quiet)
        return await self._claim(1, suspects=True) > 0

    async def _claim(self, room: int, *, suspects: bool) -> int:
        deps, policy = self._deps, self._deps.policy
        claimed_at, token = deps.clock.monotonic(), deps.ids.uuid()
        known = (
            deps.restore_detector.known
        )  # before the claim begins: see process/restore_detector.py
        async with claiming(deps, "submit", token, deps.db.single()) as tx:
            if not (await submits.due(tx)).waiting:
                return 0
            jobs = await submits.claim(
                tx,
                min(room, policy.batch),
                in_flight=policy.max_in_flight,
                lease=policy.lease,
                breaker=policy.breaker_failures,
                suspicious=policy.suspicious,
                token=token,
                suspects=suspects,
            )
        if jobs:
            deps.crash_point("submit.claimed")
            if is_behind(known, jobs[0].beacon_id, jobs[0].beacon):
                await self._mark_in_doubt(jobs, token)
                return 0
            deps.restore_detector.learn({jobs[0].beacon_id: jobs[0].beacon})
        announce_jobs(deps, [job.id for job in jobs])
        self._report_shares(jobs)
        for job in jobs:
            work = self._submit(job, token, claimed_at)
            deps.slots.start(VERB, work, quarantined=suspects)
        return len(jobs)

    def _report_shares(self, jobs: Sequence[ToSubmit]) -> None:
        """Report the share of the largest tenant in a claim, where there are several."""
        shares = Counter(job.tenant_id for job in jobs)
        if len(shares) > 1:
            largest = max(shares.values()) / len(jobs)
            self._deps.observer.done("claim", "shared", seconds=0.0, largest_share=largest)

    async def _mark_in_doubt(self, jobs: Sequence[ToSubmit], token: UUID) -> None:
        """Send nothing: the database was restored, so these jobs may be at the upstream already."""
        await mark_waiting_in_doubt(self._deps, [job.id for job in jobs], token)
        self._deps.queue.wake(VERB)

    async def _submit(self, job: ToSubmit, token: UUID, claimed_at: float) -> None:
        deps = self._deps
        started = deps.clock.monotonic()
        span = deps.span("submit", job.traceparent)
        not_after = claimed_at + deps.policy.lease - deps.policy.lease_margin
        try:
            answer = await self._send(job, not_after, span)
        except Exception as error:  # noqa: BLE001 - a defect must not stop the other jobs
            deps.slots.report(VERB, error)
            answer = Broken(f"the gateway broke down: {type(error).__name__}")
        deps.crash_point("submit.sent")
        sent = SubmitOutcome(job, token, answer)
        until = claimed_at + deps.policy.lease
        await retry_while_unavailable(deps.clock, until, lambda: self._record.add(sent))
        deps.observer.done(
            "submit",
            type(answer).__name__.lower(),
            seconds=deps.clock.monotonic() - started,
            span=span,
            job_id=job.id,
            tenant_id=job.tenant_id,
            credential_id=job.credential_id,
            reason=reason(answer),
        )

    async def _send(self, job: ToSubmit, not_after: float, span: Span | None) -> Answer:
        deps = self._deps
        access = deps.access(
            job.tenant_id, job.credential_id, job.credential_version, job.base_url, job.sealed
        )
        if isinstance(access, Sealed):
            return access
        submission = Submission(
            job.name,
            job.workflow,
            job.params,
            with_marker(job.metadata, job.id),
            job.copy_results_to,
            span.traceparent if span and job.sends_traceparent else None,
        )
        if deps.clock.monotonic() > not_after:
            # This process was stalled for so long that another one may hold the lease by now.
            return Unknown("the lease was nearly over before the request began")
        return await deps.upstream.submit(access, submission)

    async def _write(self, sent: list[SubmitOutcome]) -> list[None]:
        deps = self._deps
        taken = {
            (one.job.credential_id, one.job.workflow)
            for one in sent
            if isinstance(one.answer, Submitted)
        }
        async with deps.db.begin() as tx:
            settled = await self._record_jobs(tx, sent)
            rests = [await self._record_trouble(tx, group) for group in by_credential(sent)]
            if taken:
                await polls.poll_soon(tx, taken, deps.policy.poll_min)
            deps.crash_point("submit.recorded")
        deps.crash_point("submit.committed")
        announce(deps, settled)
        announce_jobs(deps, [one.job.id for one in sent])
        if taken:
            deps.queue.wake("poll", after=deps.policy.poll_min)
        for rest in rests:
            if 0.0 < rest <= _WAKE_WITHIN:
                deps.queue.wake("submit", after=rest)
        return [None] * len(sent)

    async def _record_jobs(self, tx: Tx, sent: Sequence[SubmitOutcome]) -> Settled:
        taken = [
            (one.job.id, one.token, one.answer.upstream_id)
            for one in sent
            if isinstance(one.answer, Submitted)
        ]
        if taken:
            await submits.submitted(tx, taken)
        refused = [
            ending(one.job.id, refusal(one.answer), one.token)
            for one in sent
            if isinstance(one.answer, Refused)
        ]
        return await settle(tx, self._deps, refused)

    async def _record_trouble(self, tx: Tx, sent: Sequence[SubmitOutcome]) -> float:
        """Seconds until the jobs of one credential that the upstream did not take are due again."""
        first = sent[0].job
        health = CredentialHealth(
            first.credential_id,
            first.tenant_id,
            first.credential_version,
            first.failures,
            first.rejected,
            first.narrow,
        )
        clear = all(isinstance(one.answer, (Submitted, Refused)) for one in sent)
        if clear and not is_failing(health):
            return 0.0
        answers = [one.answer for one in sent if not isinstance(one.answer, Broken)]
        rest = await judge_credential(tx, self._deps, health, answers) if answers else 0.0
        await self._put_back(tx, sent, rest)
        in_doubt = any(isinstance(one.answer, (Unknown, Broken)) for one in sent)
        return max(rest, self._deps.policy.lookup_delay) if in_doubt else rest

    async def _put_back(self, tx: Tx, sent: Sequence[SubmitOutcome], rest: float) -> None:
        backs = [row for one in sent if (row := back(one, rest)) is not None]
        if backs:
            await submits.back(tx, backs)
        delay = max(self._deps.policy.lookup_delay, rest)
        doubts = [row for one in sent if (row := doubt(one, delay)) is not None]
        if doubts:
            await submits.doubt(tx, doubts)
        notes = [
            NewNote(self._deps.ids.uuid(), one.job.tenant_id, one.job.id, kind, detail)
            for one in sent
            for kind, detail in note(one.answer)
        ]
        if notes:
            await lists.add_notes(tx, notes)
