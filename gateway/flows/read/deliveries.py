"""Reads of deliveries: pages of a filter, and one delivery with all of its attempts."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Attempt, Delivery
from gateway.core.replica.freshness import needed
from gateway.core.text.cursor import PageCursor
from gateway.errors import NotFound
from gateway.flows.deps import Deps
from gateway.store.database import Database
from gateway.store.delivery_search import log
from gateway.store.delivery_search.filter import DeliveryFilter


class DeliveryLog(NamedTuple):
    """A delivery, the body of its webhook, and its attempts, oldest first."""

    delivery: Delivery
    body: str
    attempts: Sequence[Attempt]


async def list_deliveries(
    deps: Deps, wanted: DeliveryFilter, cursor: PageCursor, limit: int
) -> list[Delivery]:
    """Deliveries of a tenant, newest first, from a place in the list."""

    async def read(database: Database) -> list[Delivery]:
        async with database.of(wanted.tenant_id) as tx:
            return await log.page(tx, wanted, before=cursor.last, limit=limit)

    made, sent = (wanted.created_after, wanted.created_before), (wanted.resent_after, None)
    return await deps.history(needed(deps.clock.now(), cursor, made, sent)).read(read)


async def find_delivery(deps: Deps, tenant_id: UUID, delivery_id: UUID) -> DeliveryLog:
    """A delivery of a tenant with its attempts; raises NotFound."""
    async with deps.db.of(tenant_id) as tx:
        found = await log.find(tx, tenant_id, delivery_id)
        attempts = await log.attempts(tx, tenant_id, [delivery_id])
    if found is None:
        raise NotFound("There is no such delivery.")
    return DeliveryLog(*found, [attempt for _, attempt in attempts])


async def webhooks_of_job(
    deps: Deps, tenant_id: UUID, job_id: UUID
) -> list[tuple[Delivery, list[Attempt]]]:
    """All deliveries of a job with their attempts, oldest first, without headers and bodies."""
    async with deps.db.of(tenant_id) as tx:
        found = await log.of_job(tx, tenant_id, job_id)
        attempts = await log.attempts(tx, tenant_id, [one.id for one in found], most=0)
    return [(one, [attempt for owner, attempt in attempts if owner == one.id]) for one in found]
