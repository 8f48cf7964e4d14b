"""Deliver: post signed webhooks, record every attempt, try again on schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from gateway.core.cipher import CannotOpenError
from gateway.core.retry_after import parse_retry_after
from gateway.core.webhooks.judge_reply import Retry, judge
from gateway.core.webhooks.request import Reply
from gateway.errors import Unavailable
from gateway.flows.claim.claiming import claiming
from gateway.flows.claim.retry_unavailable import retry_while_unavailable
from gateway.flows.deliver.attempt import AttemptResult, attempt_of, recorded, signed_webhook
from gateway.flows.deliver.endpoint_health import judge_endpoints
from gateway.flows.deliver.receiver_lanes import ReceiverLanes
from gateway.flows.deliver.signing_keys import Receiver, live_keys, open_headers
from gateway.flows.deps import Deps
from gateway.flows.process.group_commit import GroupCommit
from gateway.flows.settle.usage import count_webhooks
from gateway.ports import Verb
from gateway.store.webhooks import attempts, deliveries
from gateway.store.webhooks.deliveries import ToDeliver

VERB: Verb = "deliver"
_WRITERS = 2
# A longer wait than this is left to the sweep.
_WAKE_WITHIN = 60.0
_UNSIGNED = "no master key opens the secrets of this receiver"
_UNSIGNED_SECONDS = 15.0
_BROKEN_SECONDS = 5.0
# One part in so many of the room is kept for receivers with little under way: where one has a
# backlog, the others would have to wait until what it was sent at a time is written down.
_KEPT_SHARE = 5


@dataclass(frozen=True, slots=True)
class _Claim:
    """What was claimed together: until when, and how far this machine's clock lies behind Postgres's."""

    token: UUID
    until: float
    suspect: bool
    behind: timedelta = timedelta()


class Deliverer:
    """Delivers for one process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        policy = deps.policy
        self._kept = policy.deliver_concurrency // _KEPT_SHARE
        self._lanes = ReceiverLanes(
            policy.window_start,
            policy.deliver_concurrency - self._kept,
            lambda: deps.slots.look(VERB),
        )
        self._record = GroupCommit(
            self._write, batch=policy.batch, writers=_WRITERS, linger=policy.deliver_linger
        )
        self._return = GroupCommit(self._give_back, batch=policy.batch, writers=1)

    async def claim(self, room: int) -> int:
        """Claim due deliveries, start to send them, and say how many."""
        return await self._claim(room, suspects=False)

    async def claim_suspect(self) -> bool:
        """Claim a delivery that brought down those who sent it, or seemed to, and send it alone."""
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
        if due:
            deps.crash_point("deliver.claimed")
        waits = [one.wait for one in capped if one.wait is not None]
        if waits:
            deps.queue.wake(VERB, after=min(waits))
        if due:
            # Receivers refuse what is signed with a wrong time.
            behind = due[0].claimed_at - deps.clock.now()
            await self._start(due, keys, replace(claim, behind=behind))
        return len(due)

    async def _start(
        self,
        due: Sequence[ToDeliver],
        keys: Mapping[Receiver, Sequence[bytes]],
        claim: _Claim,
    ) -> None:
        """Start what can be sent; what no master key opens waits for one, and for nothing else."""
        unsigned: list[UUID] = []
        # Those of busy receivers last: they are many, and all begin in one turn of the event loop.
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
        """Send within the receiver's window and record it; what has no turn in time is given back."""
        tried: AttemptResult | None = None
        try:
            has_turn = await self._lanes.enter(one.lane, self._deps.policy.turn_seconds)
            if has_turn:
                tried = await self._send(one, keys, custom, claim)
        finally:
            self._lanes.end(one.lane)
        if not has_turn:
            await self._return.add((one.id, claim.token))
        elif tried is not None:
            await retry_while_unavailable(self._deps.clock, claim.until, lambda: self._keep(tried))
            self._report(tried, claim)

    async def _send(
        self,
        one: ToDeliver,
        keys: Sequence[bytes],
        custom: Mapping[str, str],
        claim: _Claim,
    ) -> AttemptResult | None:
        """Send in the receiver's turn; None where nothing was sent, or the gateway broke down."""
        deps, tried = self._deps, None
        try:
            tried = await self._try(one, keys, custom, claim)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other deliveries go on
            deps.slots.report(VERB, error)
            why = f"the gateway broke down: {type(error).__name__}"
            async with deps.db.single() as tx:
                await attempts.broken(tx, one.id, claim.token, _BROKEN_SECONDS, why)
        finally:
            answered = tried is not None and tried.attempt.status is not None
            self._lanes.leave(one.lane, answered=answered)
        return tried

    async def _give_back(self, rows: list[tuple[UUID, UUID]]) -> list[None]:
        async with self._deps.db.single() as tx:
            await deliveries.give_back(tx, rows)
        return [None] * len(rows)

    def _report(self, tried: AttemptResult, claim: _Claim) -> None:
        deps, one = self._deps, tried.delivery
        deps.observer.done(
            "deliver",
            type(tried.judgement).__name__.lower(),
            seconds=tried.attempt.duration_ms / 1000,
            delivery_id=one.id,
            event_id=one.event_id,
            tenant_id=one.tenant_id,
            endpoint_id=one.endpoint_id,
            number=one.attempts,
            status=tried.attempt.status,
            error_class=tried.attempt.error_class,
            late_seconds=(deps.clock.now() + claim.behind - one.event_at).total_seconds(),
        )

    async def _try(
        self,
        one: ToDeliver,
        keys: Sequence[bytes],
        custom: Mapping[str, str],
        claim: _Claim,
    ) -> AttemptResult | None:
        """One attempt; None where this process stood still: who holds the lease by now sends it."""
        deps = self._deps
        at = deps.clock.now() + claim.behind
        webhook = signed_webhook(one, keys, custom, at)
        if deps.clock.monotonic() > claim.until - deps.policy.lease_margin:
            return None
        answer = await deps.sender.send(webhook)
        deps.crash_point("deliver.sent")
        verdict = judge(
            answer,
            one.attempts - one.spared,
            deps.policy,
            delays=one.delays,
            retry_after=parse_retry_after(answer.header("retry-after"), at)
            if isinstance(answer, Reply)
            else None,
            jitter=deps.ids.jitter(),
        )
        return AttemptResult(
            one, claim.token, attempt_of(one, webhook, custom, answer, at), verdict
        )

    async def _keep(self, tried: AttemptResult) -> None:
        """Record an attempt; its details never keep its outcome from being recorded."""
        try:
            await self._record.add(tried)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the outcome must stay
            self._deps.slots.report(VERB, error)
            await self._record.add(tried.without_response())

    async def _write(self, tried: list[AttemptResult]) -> list[None]:
        deps = self._deps
        async with deps.db.begin() as tx:
            done = [recorded(one) for one in tried]
            # An endpoint before its deliveries, as who deletes or disables one does: no deadlock.
            await judge_endpoints(tx, deps, tried)
            moved = await attempts.record(tx, done)
            await count_webhooks(tx, done, moved)
            deps.crash_point("deliver.recorded")
        deps.crash_point("deliver.committed")
        waits = [one.judgement.after for one in tried if isinstance(one.judgement, Retry)]
        if waits and min(waits) <= _WAKE_WITHIN:
            deps.queue.wake(VERB, after=min(waits))
        return [None] * len(tried)
