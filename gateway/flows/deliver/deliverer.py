"""The deliverer: post signed webhooks, record every attempt, and retry on schedule.

It runs when a `deliver` wake-up arrives or a delivery is due, up to the free slots of the process
and the concurrency window of each receiver. Each delivery is sent at least once under one
webhook-id, until it is delivered, parked, or a dead letter (state `exhausted`).
A crash leaves the claimed rows with their lease and one attempt counted. Another process sends them
after 26 s, and a delivery that was claimed twice without an outcome is then sent alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from gateway.core.crypto.cipher import CannotOpenError
from gateway.core.schedule.retry_after import parse_retry_after
from gateway.core.webhooks.judge_reply import Retry, judge
from gateway.core.webhooks.signed_request import Reply
from gateway.errors import Unavailable
from gateway.flows.claim.lease import claiming
from gateway.flows.claim.retry_unavailable import retry_while_unavailable
from gateway.flows.deliver.attempt import AttemptResult, attempt_of, recorded, signed_webhook
from gateway.flows.deliver.endpoint_health import judge_endpoints
from gateway.flows.deliver.receiver_lanes import ReceiverLanes
from gateway.flows.deliver.signing_keys import Receiver, live_keys, open_headers
from gateway.flows.deps import Deps
from gateway.flows.process.group_commit import GroupCommit
from gateway.flows.settle.usage import count_webhooks
from gateway.ports import Verb
from gateway.store.database import Tx
from gateway.store.webhooks import attempts, deliveries
from gateway.store.webhooks.deliveries import JobTrace, ToDeliver

VERB: Verb = "deliver"
_WRITERS = 2
# The sweep wakes deliveries that wait for longer than this.
_WAKE_WITHIN = 60.0
_UNSIGNED = "no master key opens the secrets of this receiver"
_UNSIGNED_SECONDS = 15.0
_BROKEN_SECONDS = 5.0
# One fifth of the slots is kept for receivers with few webhooks in flight. Else the backlog of one
# receiver could take all slots, and the others would wait until its attempts are recorded.
_KEPT_SHARE = 5


@dataclass(frozen=True, slots=True)
class _Claim:
    """Deliveries claimed together. `behind` is by how much our clock is behind that of Postgres.

    `traces` are the trace contexts of their jobs, by job.
    """

    token: UUID
    until: float
    suspect: bool
    behind: timedelta = timedelta()
    traces: Mapping[UUID, JobTrace] = field(default_factory=dict[UUID, JobTrace])


class Deliverer:
    """Delivers in one process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        policy = deps.policy
        self._kept = policy.deliver_concurrency // _KEPT_SHARE
        self._lanes = ReceiverLanes(
            policy.window_start,
            policy.deliver_concurrency - self._kept,
            lambda: deps.slots.look(VERB),
        )
        self._results = GroupCommit(
            self._write, batch=policy.batch, writers=_WRITERS, linger=policy.deliver_linger
        )
        self._return = GroupCommit(self._give_back, batch=policy.batch, writers=1)

    async def claim(self, room: int) -> int:
        """Claim due deliveries, start to send them, and say how many."""
        return await self._claim(room, suspects=False)

    async def claim_quarantined(self) -> bool:
        """Claim a quarantined delivery, which was claimed twice without an outcome; send it alone."""
        policy = self._deps.policy
        async with self._deps.db.single() as tx:
            if not (await deliveries.due(tx)).suspects:
                return False
            if not await deliveries.has_suspects(tx, policy.suspicious):
                return False
            await deliveries.give_up(tx, policy.strikes)
        await self._deps.slots.wait_idle(VERB, policy.quiet)
        return await self._claim(1, suspects=True) > 0

    async def _claim(self, room: int, *, suspects: bool) -> int:
        deps, policy = self._deps, self._deps.policy
        claim = _Claim(deps.ids.uuid(), deps.clock.monotonic() + policy.lease, suspects)
        async with claiming(deps, "deliver", claim.token, deps.db.begin()) as tx:
            if not (await deliveries.due(tx)).pending:
                return 0
            capped = await deliveries.hold_capped(tx)
            due = await deliveries.claim(
                tx,
                min(room, policy.batch),
                ahead=room if suspects else max(0, room - self._kept),
                free=policy.window_start,
                lease=policy.lease,
                suspicious=policy.suspicious,
                token=claim.token,
                taken=self._lanes.taken(),
                held=[one.id for one in capped],
                suspects=suspects,
            )
            keys = await live_keys(tx, deps, [(one.tenant_id, one.endpoint_id) for one in due])
            traces = await self._traces(tx, due)
        if due:
            deps.crash_point("deliver.claimed")
        waits = [one.wait for one in capped if one.wait is not None]
        if waits:
            deps.queue.wake(VERB, after=min(waits))
        if due:
            # Receivers refuse a signature with a wrong time.
            behind = due[0].claimed_at - deps.clock.now()
            await self._start(due, keys, replace(claim, behind=behind, traces=traces))
        return len(due)

    async def _traces(self, tx: Tx, due: Sequence[ToDeliver]) -> Mapping[UUID, JobTrace]:
        jobs = {one.job_id for one in due if one.job_id is not None}
        return await deliveries.traces(tx, list(jobs)) if jobs and self._deps.tracer else {}

    async def _start(
        self,
        due: Sequence[ToDeliver],
        keys: Mapping[Receiver, Sequence[bytes]],
        claim: _Claim,
    ) -> None:
        """Start the deliveries that can be signed, and postpone those that no master key opens."""
        unsigned: list[UUID] = []
        # Busy receivers come last: they have many, and all begin in one turn of the event loop.
        for one in sorted(due, key=lambda one: self._lanes.claimed(one.lane)):
            mine, custom = keys[one.tenant_id, one.endpoint_id], self._headers(one)
            if mine and custom is not None:
                self._lanes.claim(one.lane)
                work = self._deliver(one, mine, custom, claim)
                self._deps.slots.start(VERB, work, quarantined=claim.suspect)
            else:
                unsigned.append(one.id)
        if unsigned:
            async with self._deps.db.single() as tx:
                await attempts.postpone(tx, unsigned, claim.token, _UNSIGNED_SECONDS, _UNSIGNED)

    def _headers(self, one: ToDeliver) -> dict[str, str] | None:
        try:
            return open_headers(self._deps, one.tenant_id, one.endpoint_id, one.headers_sealed)
        except CannotOpenError as error:
            self._deps.report_sealed(error)
            return None

    async def _deliver(
        self,
        one: ToDeliver,
        keys: Sequence[bytes],
        custom: Mapping[str, str],
        claim: _Claim,
    ) -> None:
        """Send within the receiver's window and record it; without a turn in time, give it back."""
        result: AttemptResult | None = None
        try:
            has_turn = await self._lanes.enter(one.lane, self._deps.policy.turn_seconds)
            if has_turn:
                result = await self._send(one, keys, custom, claim)
        finally:
            self._lanes.end(one.lane)
        if not has_turn:
            await self._return.add((one.id, claim.token))
        elif result is not None:
            await retry_while_unavailable(
                self._deps.clock, claim.until, lambda: self._record_result(result)
            )
            self._report(result, claim)

    async def _send(
        self,
        one: ToDeliver,
        keys: Sequence[bytes],
        custom: Mapping[str, str],
        claim: _Claim,
    ) -> AttemptResult | None:
        """Send in the receiver's turn; None if nothing was sent, or the gateway itself failed."""
        deps, result = self._deps, None
        try:
            result = await self._attempt(one, keys, custom, claim)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other deliveries go on
            deps.slots.report(VERB, error)
            why = f"the gateway broke down: {type(error).__name__}"
            async with deps.db.single() as tx:
                await attempts.broken(tx, one.id, claim.token, _BROKEN_SECONDS, why)
        finally:
            answered = result is not None and result.attempt.status is not None
            self._lanes.leave(one.lane, answered=answered)
        return result

    async def _give_back(self, rows: list[tuple[UUID, UUID]]) -> list[None]:
        async with self._deps.db.single() as tx:
            await deliveries.give_back(tx, rows)
        return [None] * len(rows)

    def _report(self, result: AttemptResult, claim: _Claim) -> None:
        deps, one = self._deps, result.delivery
        deps.observer.done(
            "deliver",
            type(result.judgement).__name__.lower(),
            seconds=result.attempt.duration_ms / 1000,
            span=result.span,
            delivery_id=one.id,
            event_id=one.event_id,
            tenant_id=one.tenant_id,
            endpoint_id=one.endpoint_id,
            number=one.attempts,
            status=result.attempt.status,
            error_class=result.attempt.error_class,
            late_seconds=(deps.clock.now() + claim.behind - one.event_at).total_seconds(),
        )

    async def _attempt(
        self,
        one: ToDeliver,
        keys: Sequence[bytes],
        custom: Mapping[str, str],
        claim: _Claim,
    ) -> AttemptResult | None:
        """Make one attempt; None if the process stood still for so long that it may lose the lease."""
        deps = self._deps
        at = deps.clock.now() + claim.behind
        trace = claim.traces.get(one.job_id) if one.job_id else None
        span = deps.span("deliver", trace.traceparent) if trace else None
        sent = span.traceparent if span and trace and trace.is_sent else None
        webhook = signed_webhook(one, keys, custom, at, sent)
        if deps.clock.monotonic() > claim.until - deps.policy.lease_margin:
            return None
        answer = await deps.sender.send(webhook)
        deps.crash_point("deliver.sent")
        judgement = judge(
            answer,
            one.attempts - one.spared,
            deps.policy,
            delays=one.delays,
            retry_after=parse_retry_after(answer.header("retry-after"), at)
            if isinstance(answer, Reply)
            else None,
            jitter=deps.ids.jitter(),
        )
        attempt = attempt_of(one, webhook, custom, answer, at)
        return AttemptResult(one, claim.token, attempt, judgement, span)

    async def _record_result(self, result: AttemptResult) -> None:
        """Record an attempt; if its details cannot be stored, record it without them."""
        try:
            await self._results.add(result)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the outcome is recorded
            self._deps.slots.report(VERB, error)
            await self._results.add(result.without_response())

    async def _write(self, results: list[AttemptResult]) -> list[None]:
        deps = self._deps
        async with deps.db.begin() as tx:
            done = [recorded(one) for one in results]
            # An endpoint is locked before its deliveries, as by its deletion, so nothing deadlocks.
            await judge_endpoints(tx, deps, results)
            moved = await attempts.record(tx, done)
            await count_webhooks(tx, done, moved)
            deps.crash_point("deliver.recorded")
        deps.crash_point("deliver.committed")
        waits = [one.judgement.after for one in results if isinstance(one.judgement, Retry)]
        if waits and min(waits) <= _WAKE_WITHIN:
            deps.queue.wake(VERB, after=min(waits))
        return [None] * len(results)
