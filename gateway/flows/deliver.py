"""Deliver: post signed webhooks, record every attempt, try again on schedule."""

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never
from uuid import UUID

from gateway import __version__
from gateway.core.cipher import CannotOpenError
from gateway.core.delivery import (
    Delivered,
    Exhausted,
    Gone,
    Judgement,
    Retry,
    error_class,
    judge,
    parse_retry_after,
)
from gateway.core.events import ENDPOINT_DISABLED, event_body
from gateway.core.model import Attempt, DeliveryState
from gateway.core.signing import sign
from gateway.core.webhook import Fault, Reply, Webhook
from gateway.flows.deps import Deps, secret_place
from gateway.flows.group_commit import GroupCommit
from gateway.flows.patience import patiently
from gateway.flows.settle import publish
from gateway.ports import Verb
from gateway.store import deliveries
from gateway.store.deliveries import Recorded, ToDeliver
from gateway.store.engine import Tx
from gateway.store.outcomes import NewEvent

VERB: Verb = "deliver"
_LINGER = 0.03
_WRITERS = 2
# A longer wait than this is left to the sweep.
_WAKE_WITHIN = 60.0
_GONE = "the receiver answered 410 Gone"
_UNSIGNED = "no master key opens a signing secret for this receiver"
_UNSIGNED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Tried:
    """A delivery, its attempt, and what that means."""

    delivery: ToDeliver
    token: UUID
    attempt: Attempt
    judgement: Judgement


class Deliverer:
    """Delivers for one process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._record = GroupCommit(
            self._write, batch=deps.policy.batch, writers=_WRITERS, linger=_LINGER
        )

    async def claim(self, room: int) -> int:
        """Claim due deliveries, start to send them, and say how many."""
        deps, policy = self._deps, self._deps.policy
        claimed_at, token = deps.clock.monotonic(), deps.ids.uuid()
        async with deps.db.single() as tx:
            due = await deliveries.claim(
                tx,
                min(room, policy.batch),
                cap=policy.lane_concurrency,
                lease=policy.lease,
                token=token,
            )
            sealed = await deliveries.secrets(tx, due) if due else []
        if due:
            deps.reached("deliver.claimed")
        secrets = self._open(sealed)
        for one in due:
            if keys := secrets[one.tenant_id, one.endpoint_id]:
                deps.slots.start(VERB, self._deliver(one, keys, token, claimed_at))
        unsigned = [one.id for one in due if not secrets[one.tenant_id, one.endpoint_id]]
        if unsigned:
            async with deps.db.single() as tx:
                await deliveries.postpone(tx, unsigned, token, _UNSIGNED_SECONDS, _UNSIGNED)
        return len(due)

    def _open(
        self, sealed: Sequence[deliveries.SealedSecret]
    ) -> defaultdict[tuple[UUID, UUID | None], list[bytes]]:
        secrets: defaultdict[tuple[UUID, UUID | None], list[bytes]] = defaultdict(list)
        for one in sealed:
            place = secret_place(one.tenant_id, one.id)
            # One that no master key opens holds up what it should sign, and nobody else.
            with suppress(CannotOpenError):
                key = self._deps.cipher.open(one.sealed, place)
                secrets[one.tenant_id, one.endpoint_id].append(key)
        return secrets

    async def _deliver(
        self, one: ToDeliver, secrets: Sequence[bytes], token: UUID, claimed_at: float
    ) -> None:
        deps, policy = self._deps, self._deps.policy
        at = deps.clock.now()
        webhook = signed_webhook(one, secrets, at)
        if deps.clock.monotonic() > claimed_at + policy.lease - policy.lease_margin:
            return  # this process stood still; whoever holds the lease by now sends it
        answer = await deps.sender.send(webhook)
        deps.reached("deliver.sent")
        attempt = _attempt(one, webhook, answer, at)
        wish = parse_retry_after(answer.headers, at) if isinstance(answer, Reply) else None
        verdict = judge(
            attempt.status, one.attempts, policy, retry_after=wish, jitter=deps.ids.jitter()
        )
        tried = Tried(one, token, attempt, verdict)
        until = claimed_at + policy.lease
        await patiently(deps.clock, until, lambda: self._record.add(tried))
        deps.observer.done(
            "deliver",
            type(verdict).__name__.lower(),
            seconds=answer.seconds,
            delivery_id=one.id,
            event_id=one.event_id,
            tenant_id=one.tenant_id,
            endpoint_id=one.endpoint_id,
            number=one.attempts,
            status=attempt.status,
            error_class=attempt.error_class,
            late_seconds=(deps.clock.now() - one.event_at).total_seconds(),
        )

    async def _write(self, tried: list[Tried]) -> list[None]:
        deps = self._deps
        rests: dict[UUID, float] = {}
        async with deps.db.begin() as tx:
            await deliveries.record(tx, [_recorded(one) for one in tried])
            for one in tried:
                endpoint_id = one.delivery.endpoint_id
                if isinstance(one.judgement, Retry) and one.judgement.slow and endpoint_id:
                    rests[endpoint_id] = max(rests.get(endpoint_id, 0.0), one.judgement.slow)
            for endpoint_id, seconds in sorted(rests.items()):
                await deliveries.slow(tx, endpoint_id, seconds)
            for endpoint_id in sorted(_gone(tried)):
                await self._disable(tx, endpoint_id)
            deps.reached("deliver.recorded")
        deps.reached("deliver.committed")
        waits = [one.judgement.after for one in tried if isinstance(one.judgement, Retry)]
        if waits and min(waits) <= _WAKE_WITHIN:
            deps.queue.wake("deliver", after=min(waits))
        return [None] * len(tried)

    async def _disable(self, tx: Tx, endpoint_id: UUID) -> None:
        """Disable an endpoint, and tell the tenant's other ones."""
        tenant_id = await deliveries.disable(tx, endpoint_id, _GONE)
        if tenant_id is None:
            return
        deps = self._deps
        data = json.dumps({"endpoint": {"id": str(endpoint_id)}, "reason": _GONE})
        body = event_body(ENDPOINT_DISABLED, data, deps.clock.now())
        event = NewEvent(deps.ids.uuid(), tenant_id, None, ENDPOINT_DISABLED, body)
        if await publish(tx, deps, [event], but_not=endpoint_id):
            deps.queue.wake(VERB, after=0.1)


def signed_webhook(one: ToDeliver, secrets: Sequence[bytes], at: datetime) -> Webhook:
    """The request of one attempt, signed at its own time over the frozen body."""
    body, stamp, webhook_id = one.body.encode(), int(at.timestamp()), str(one.event_id)
    headers = (
        ("content-type", "application/json"),
        ("user-agent", f"job-gateway/{__version__}"),
        ("webhook-id", webhook_id),
        ("webhook-timestamp", str(stamp)),
        ("webhook-signature", sign(secrets, webhook_id, stamp, body)),
    )
    return Webhook(one.url, headers, body)


def _attempt(one: ToDeliver, webhook: Webhook, answer: Reply | Fault, at: datetime) -> Attempt:
    is_reply = isinstance(answer, Reply)
    return Attempt(
        number=one.attempts,
        started_at=at,
        duration_ms=round(answer.seconds * 1000),
        url=one.url,
        request_headers=json.dumps(dict(webhook.headers)),
        status=answer.status if is_reply else None,
        response_headers=_storable(json.dumps(dict(answer.headers))) if is_reply else None,
        response_body=_storable(answer.body.decode(errors="replace")) if is_reply else None,
        error_class=error_class(answer.status) if is_reply else answer.kind,
        detail=None if is_reply else _storable(answer.detail),
    )


def _recorded(one: Tried) -> Recorded:
    match one.judgement:
        case Delivered():
            state, delay = DeliveryState.DELIVERED, 0.0
        case Retry():
            state, delay = DeliveryState.PENDING, one.judgement.after
        case Gone() if one.delivery.endpoint_id is not None:
            state, delay = DeliveryState.PARKED, 0.0
        case Exhausted() | Gone():
            state, delay = DeliveryState.EXHAUSTED, 0.0
        case _:
            assert_never(one.judgement)
    return Recorded(
        one.delivery.id, one.delivery.tenant_id, one.token, state.value, delay, one.attempt
    )


def _gone(tried: Sequence[Tried]) -> set[UUID]:
    return {
        one.delivery.endpoint_id
        for one in tried
        if isinstance(one.judgement, Gone) and one.delivery.endpoint_id is not None
    }


def _storable(text: str) -> str:
    """Postgres stores no NUL."""
    return text.replace("\x00", "\ufffd").replace("\\u0000", "\\ufffd")
