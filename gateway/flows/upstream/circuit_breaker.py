"""The circuit breaker of each credential: back off after faults, park when rejected, recover alone.

Submits, polls and lookups report their answers here, in the transaction that records them.
- closed: calls are made. A Busy or Unknown answer makes the whole credential rest (exponential
  back-off, or the upstream's Retry-After), and lowers how many submits may be in flight.
- open: after `breaker_failures` faults in a row. Nothing is called until the rest is over.
- half-open: then one claim is a probe. A good answer closes the breaker, a fault opens it again.
401, 402 and 403 reject the credential: its jobs wait without using attempts, the tenant gets one
event, and a probe is made every five minutes. All state is in the row, so a crash loses none of it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.core.events import CREDENTIAL_REJECTED, event_body
from gateway.core.policy import Policy
from gateway.core.schedule.backoff import pause
from gateway.flows.deps import Deps
from gateway.flows.settle.settlement import publish
from gateway.flows.settle.watchers import announce_feed
from gateway.ports import Busy, Denied, Sealed, Submitted, Unknown
from gateway.store.database import Tx
from gateway.store.work import circuit_breaker
from gateway.store.work.settlement import NewEvent

# How often a rejected credential is probed: the reason may have been fixed at the upstream.
REPROBE_SECONDS = 300.0
# How soon a credential that no master key opens is tried again: another process may have the key.
_SEALED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class CredentialHealth:
    """A credential as it was claimed; `throttled` while fewer submits than usual may be in flight."""

    id: UUID
    tenant_id: UUID
    version: int
    failures: int
    rejected: bool
    throttled: bool = False


async def judge_credential(
    tx: Tx, deps: Deps, health: CredentialHealth, answers: Sequence[object]
) -> float:
    """Record what the upstream's answers mean for a credential; returns seconds of rest, 0 for none.

    The first rejection is published as an event to the tenant's endpoints.
    """
    room = deps.policy.submit_concurrency
    denied = next((answer for answer in answers if isinstance(answer, Denied)), None)
    if denied is not None:
        return await _reject(tx, deps, health, denied)
    if any(isinstance(answer, Sealed) for answer in answers):
        await circuit_breaker.rest(tx, health.id, _SEALED_SECONDS)
        return _SEALED_SECONDS
    trouble = [answer for answer in answers if isinstance(answer, (Busy, Unknown))]
    if trouble:
        rest = pause(health.failures, _longest(trouble), deps.ids.jitter())
        probe = is_probe(health, deps.policy)
        await circuit_breaker.failed(tx, health.id, rest, probe=probe, room=room)
        return rest
    if is_failing(health):
        submits = sum(isinstance(answer, Submitted) for answer in answers)
        await circuit_breaker.well(tx, health.id, submits=submits, room=room)
    return 0.0


def is_failing(health: CredentialHealth) -> bool:
    """Whether a good answer has anything to undo: failures, a rejection, or throttling."""
    return health.failures > 0 or health.rejected or health.throttled


def is_probe(health: CredentialHealth, policy: Policy) -> bool:
    """Whether a claim with this credential is a probe: the breaker is half-open."""
    return health.rejected or health.failures >= policy.breaker_failures


def _longest(trouble: Sequence[Busy | Unknown]) -> float | None:
    return max((t.retry_after for t in trouble if t.retry_after is not None), default=None)


async def _reject(tx: Tx, deps: Deps, health: CredentialHealth, denied: Denied) -> float:
    reason = f"HTTP {denied.status}: {denied.problem.message}"
    is_news, superseded = await circuit_breaker.reject(tx, health.id, reason, REPROBE_SECONDS)
    if superseded:
        return 0.0  # a later credential takes over its jobs
    if is_news:
        data = {"credential": {"version": health.version}, "reason": reason}
        body = event_body(CREDENTIAL_REJECTED, json.dumps(data), deps.clock.now())
        event = NewEvent(deps.ids.uuid(), health.tenant_id, None, CREDENTIAL_REJECTED, body)
        if await publish(tx, deps, [event]):
            deps.queue.wake("deliver", after=0.1)
        # Announced before the commit: followers of the feed read more than once.
        announce_feed(deps, [health.tenant_id])
    return REPROBE_SECONDS
