"""The health of an endpoint: it rests when overloaded, and is disabled when it is gone for good."""

import json
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from gateway.core.events import ENDPOINT_DISABLED, event_body
from gateway.core.webhooks.judge_reply import Delivered, Gone, Retry, failing_percent
from gateway.flows.deliver.attempt import AttemptResult
from gateway.flows.deps import Deps
from gateway.flows.settle.settlement import publish
from gateway.flows.settle.watchers import announce_feed
from gateway.store.database import Tx
from gateway.store.webhooks import attempts
from gateway.store.work.settlement import NewEvent

GONE = "the receiver answered 410 Gone"
FAILED = "every attempt failed for five days"
# For which of its own accord the gateway disables an endpoint.
REASONS = (GONE, FAILED)
_ALL = 100


async def judge_endpoints(tx: Tx, deps: Deps, tried: Sequence[AttemptResult]) -> None:
    """Draw the consequences of attempts for the endpoints that they went to."""
    groups: defaultdict[UUID, list[AttemptResult]] = defaultdict(list)
    for one in tried:
        if one.delivery.endpoint_id is not None:
            groups[one.delivery.endpoint_id].append(one)
    # In one order for everybody: two writers that touch the same endpoints must not deadlock.
    for endpoint_id in sorted(groups):
        await _judge(tx, deps, endpoint_id, groups[endpoint_id])


async def disable(tx: Tx, deps: Deps, endpoint_id: UUID, reason: str) -> None:
    """Disable an endpoint, park what it is owed, and tell the tenant's other ones."""
    tenant_id = await attempts.disable(tx, endpoint_id, reason)
    if tenant_id is None:
        return
    data = json.dumps({"endpoint": {"id": str(endpoint_id)}, "reason": reason})
    body = event_body(ENDPOINT_DISABLED, data, deps.clock.now())
    event = NewEvent(deps.ids.uuid(), tenant_id, None, ENDPOINT_DISABLED, body, endpoint_id)
    if await publish(tx, deps, [event], but_not=endpoint_id):
        deps.queue.wake("deliver", after=0.1)
    announce_feed(deps, [tenant_id])  # before the commit: who follows it looks more than once


async def _judge(tx: Tx, deps: Deps, endpoint_id: UUID, tried: Sequence[AttemptResult]) -> None:
    rest = max((one.judgement.slow for one in tried if isinstance(one.judgement, Retry)), default=0)
    if rest:
        await attempts.slow(tx, endpoint_id, rest)
    if any(isinstance(one.judgement, Gone) for one in tried):
        await disable(tx, deps, endpoint_id, GONE)
        return
    delivered = [one for one in tried if isinstance(one.judgement, Delivered)]
    if (
        delivered
    ):  # also a replay, so that what is recovered after an outage is not held to two places
        if any(one.delivery.unwell for one in delivered):
            await attempts.well(tx, endpoint_id)
    elif failures := sum(one.counts for one in tried):
        await _count_failures(tx, deps, endpoint_id, failures)


async def _count_failures(tx: Tx, deps: Deps, endpoint_id: UUID, failures: int) -> None:
    standing = await attempts.failing(tx, endpoint_id, failures)
    if standing is not None and failing_percent(*standing) >= _ALL:
        await disable(tx, deps, endpoint_id, FAILED)
