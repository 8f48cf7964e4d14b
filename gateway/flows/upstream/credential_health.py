"""The health of a credential: rest after faults, park when it is not honoured, recover by itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.core.events import CREDENTIAL_REJECTED, event_body
from gateway.core.schedule import Policy, pause
from gateway.flows.deps import Deps
from gateway.flows.settle.settlement import publish
from gateway.flows.settle.watchers import announce_feed
from gateway.ports import Busy, Denied, Sealed, Submitted, Unknown
from gateway.store.database import Tx
from gateway.store.work import credential_health
from gateway.store.work.settlement import NewEvent

# How often a rejected credential is tried again, in case the reason was mended at the upstream.
REPROBE_SECONDS = 300.0
# How soon what no master key opens is tried again: by then another process may have the key.
_SEALED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class CredentialHealth:
    """A credential as it was claimed; `narrow` while its room for submits is not all it had."""

    id: UUID
    tenant_id: UUID
    version: int
    failures: int
    rejected: bool
    narrow: bool = False


async def judge_credential(
    tx: Tx, deps: Deps, standing: CredentialHealth, answers: Sequence[object]
) -> float:
    """Draw the consequences of what the upstream answered; seconds of rest, 0 when it is well.

    A rejection is reported once, as an event to the tenant's endpoints.
    """
    room = deps.policy.submit_concurrency
    denied = next((answer for answer in answers if isinstance(answer, Denied)), None)
    if denied is not None:
        return await _reject(tx, deps, standing, denied)
    if any(isinstance(answer, Sealed) for answer in answers):
        await credential_health.rest(tx, standing.id, _SEALED_SECONDS)
        return _SEALED_SECONDS
    trouble = [answer for answer in answers if isinstance(answer, (Busy, Unknown))]
    if trouble:
        rest = pause(standing.failures, _longest(trouble), deps.ids.jitter())
        probe = is_probe(standing, deps.policy)
        await credential_health.failed(tx, standing.id, rest, probe=probe, room=room)
        return rest
    if is_failing(standing):
        submits = sum(isinstance(answer, Submitted) for answer in answers)
        await credential_health.well(tx, standing.id, submits=submits, room=room)
    return 0.0


def is_failing(standing: CredentialHealth) -> bool:
    """Whether there is anything to take back when the upstream answers again."""
    return standing.failures > 0 or standing.rejected or standing.narrow


def is_probe(standing: CredentialHealth, policy: Policy) -> bool:
    """Whether work that was claimed with such a credential is there to try it."""
    return standing.rejected or standing.failures >= policy.breaker_failures


def _longest(trouble: Sequence[Busy | Unknown]) -> float | None:
    return max((t.retry_after for t in trouble if t.retry_after is not None), default=None)


async def _reject(tx: Tx, deps: Deps, standing: CredentialHealth, denied: Denied) -> float:
    reason = f"HTTP {denied.status}: {denied.problem.message}"
    is_news, superseded = await credential_health.reject(tx, standing.id, reason, REPROBE_SECONDS)
    if superseded:
        return 0.0  # its jobs are asked about with the credential that came after it
    if is_news:
        data = {"credential": {"version": standing.version}, "reason": reason}
        body = event_body(CREDENTIAL_REJECTED, json.dumps(data), deps.clock.now())
        event = NewEvent(deps.ids.uuid(), standing.tenant_id, None, CREDENTIAL_REJECTED, body)
        if await publish(tx, deps, [event]):
            deps.queue.wake("deliver", after=0.1)
        # Before the commit: who follows the feed looks more than once.
        announce_feed(deps, [standing.tenant_id])
    return REPROBE_SECONDS
