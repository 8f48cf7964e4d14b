"""Resend: send one delivery again, also a dead letter, with the same webhook-id and bytes.

It runs when a caller asks. It only makes the row due; the deliverer sends it. One transaction, so a
crash leaves the delivery as it was or due.
"""

from uuid import UUID

from gateway.core.model import Delivery
from gateway.errors import Conflict, NotFound
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deps import Deps
from gateway.store.delivery_search import log
from gateway.store.webhooks import endpoints, replays


@retry_on_deadlock
async def resend_delivery(deps: Deps, tenant_id: UUID, delivery_id: UUID) -> Delivery:
    """Make a delivery due now.

    A delivery that has ended gets a new schedule of retries. One that waits for its next attempt
    keeps its schedule, and one that is being sent is left alone. Raises NotFound, and Conflict for
    a test, or if its endpoint is deleted or disabled.
    """
    async with deps.db.of(tenant_id) as tx:
        found = await log.find(tx, tenant_id, delivery_id)
        if found is None:
            raise NotFound("There is no such delivery.")
        if found[0].is_sample:
            raise Conflict("A test is sent once. POST /endpoint/{id}/test sends another one.")
        endpoint_id = found[0].endpoint_id
        if endpoint_id is not None:
            endpoint = await endpoints.find(tx, tenant_id, endpoint_id)
            if endpoint is None:
                raise Conflict("The endpoint of this delivery was deleted.")
            if endpoint.disabled_at is not None:
                raise Conflict("The endpoint of this delivery is disabled. Enable it first.")
        await replays.resend(tx, tenant_id, delivery_id)
        found = await log.find(tx, tenant_id, delivery_id) or found
    deps.queue.wake("deliver")
    return found[0]
