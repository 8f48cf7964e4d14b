"""The health of an endpoint: slow it down when overloaded, disable it when it is gone for good.

It runs in the transaction that records attempts. An endpoint rests after 429, 502, 503 or 504. It
is disabled after 410 Gone, or if every attempt failed for five days; its open deliveries are parked
and the tenant's other endpoints are told. A crash leaves nothing: all of it commits with the attempt.
"""

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
# Why the gateway itself disables an endpoint.
REASONS = (GONE, FAILED)
_ALL = 100


async def judge_endpoints(tx: Tx, deps: Deps, results: Sequence[AttemptResult]) -> None:
    """Slow down, disable or clear the endpoints that attempts went to."""
    groups: defaultdict[UUID, list[AttemptResult]] = defaultdict(list)
    for one in results:
        if one.delivery.endpoint_id is not None:
            groups[one.delivery.endpoint_id].append(one)
    # Always in the same order, so that two writers of the same endpoints do not deadlock.
    for endpoint_id in sorted(groups):
        await _judge(tx, deps, endpoint_id, groups[endpoint_id])


async def disable(tx: Tx, deps: Deps, endpoint_id: UUID, reason: str) -> None:
    """Disable an endpoint, park its open deliveries, and tell the tenant's other endpoints."""
    tenant_id = await attempts.disable(tx, endpoint_id, reason)
    if tenant_id is None:
        return
    data = json.dumps({"endpoint": {"id": str(endpoint_id)}, "reason": reason})
    body = event_body(ENDPOINT_DISABLED, data, deps.clock.now())
    event = NewEvent(deps.ids.uuid(), tenant_id, None, ENDPOINT_DISABLED, body, endpoint_id)
    if await publish(tx, deps, [event], but_not=endpoint_id):
        deps.queue.wake("deliver", after=0.1)
    announce_feed(deps, [tenant_id])  # before the commit: a follower of the feed looks again


async def _judge(tx: Tx, deps: Deps, endpoint_id: UUID, results: Sequence[AttemptResult]) -> None:
    rest = max(
        (one.judgement.slow for one in results if isinstance(one.judgement, Retry)), default=0
    )
    if rest:
        await attempts.slow(tx, endpoint_id, rest)
    if any(isinstance(one.judgement, Gone) for one in results):
        await disable(tx, deps, endpoint_id, GONE)
        return
    delivered = [one for one in results if isinstance(one.judgement, Delivered)]
    if delivered:
        # A replay counts too, so that a recovery after an outage is not limited to two at a time.
        if any(one.delivery.unwell for one in delivered):
            await attempts.well(tx, endpoint_id)
    elif failures := sum(one.counts for one in results):
        await _count_failures(tx, deps, endpoint_id, failures)


async def _count_failures(tx: Tx, deps: Deps, endpoint_id: UUID, failures: int) -> None:
    outage = await attempts.failing(tx, endpoint_id, failures)
    if outage is not None and failing_percent(*outage) >= _ALL:
        await disable(tx, deps, endpoint_id, FAILED)
