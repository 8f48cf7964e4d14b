"""Reads of deliveries: pages of a filter, and one delivery with all of its attempts."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Attempt, Delivery
from gateway.core.replica.freshness import needed
from gateway.core.text.cursor import PageCursor
from gateway.core.webhooks.judge_reply import error_class
from gateway.errors import BadRequest, NotFound
from gateway.flows.deps import Deps
from gateway.flows.read.export import reading
from gateway.store.database import Database
from gateway.store.delivery_search import dead_letters, log
from gateway.store.delivery_search.dead_letters import DeadLetterGroup
from gateway.store.delivery_search.filter import ALL_TENANTS, DeliveryFilter

_MOST_DEAD = 10_000
_MOST_GROUPS = 100


class DeliveryLog(NamedTuple):
    """A delivery, the body of its webhook, and its attempts, oldest first."""

    delivery: Delivery
    body: str
    attempts: Sequence[Attempt]


class DeadLetters(NamedTuple):
    """Groups of dead letters, the largest first; `has_more` says that not all of them were counted.

    `hidden` is how many smaller groups there are.
    """

    groups: Sequence[DeadLetterGroup]
    total: int
    has_more: bool
    hidden: int


async def list_deliveries(
    deps: Deps, wanted: DeliveryFilter, cursor: PageCursor, limit: int
) -> list[Delivery]:
    """Deliveries of a tenant, or of all, newest first, from a place in the list. Raises BadRequest."""
    check_statuses(wanted.statuses)
    tenants = None if wanted.tenant_id == ALL_TENANTS else (wanted.tenant_id,)

    async def read(database: Database) -> list[Delivery]:
        async with reading(database, tenants) as tx:
            return await log.page(tx, wanted, before=cursor.last, limit=limit)

    made, sent = (wanted.created_after, wanted.created_before), (wanted.resent_after, None)
    return await deps.history(needed(deps.clock.now(), cursor, made, sent)).read(read)


def check_statuses(statuses: Sequence[int]) -> None:
    """Refuse the statuses of successes, of which there is no index; raises BadRequest."""
    if any(error_class(status) is None for status in statuses):
        raise BadRequest.of("httpStatus", "must be the status of a failure; 2xx is `delivered`")


async def find_delivery_owner(
    deps: Deps, delivery_id: UUID, allowed: Collection[UUID] | None
) -> UUID:
    """The tenant that owns a delivery, if it is one of those allowed (None: all); raises NotFound."""
    async with deps.db.single() as tx:
        tenant_id = await log.owner(tx, delivery_id)
    if tenant_id is None or (allowed is not None and tenant_id not in allowed):
        raise _missing()
    return tenant_id


async def find_delivery(deps: Deps, tenant_id: UUID, delivery_id: UUID) -> DeliveryLog:
    """A delivery of a tenant with its attempts; raises NotFound."""
    async with deps.db.of(tenant_id) as tx:
        found = await log.find(tx, tenant_id, delivery_id)
        attempts = await log.attempts(tx, tenant_id, [delivery_id])
    if found is None:
        raise _missing()
    return DeliveryLog(*found, [attempt for _, attempt in attempts])


async def webhooks_of_job(
    deps: Deps, tenant_id: UUID, job_id: UUID
) -> list[tuple[Delivery, list[Attempt]]]:
    """All deliveries of a job with their attempts, oldest first, without headers and bodies."""
    async with deps.db.of(tenant_id) as tx:
        found = await log.of_job(tx, tenant_id, job_id)
        attempts = await log.attempts(tx, tenant_id, [one.id for one in found], most=0)
    return [(one, [attempt for owner, attempt in attempts if owner == one.id]) for one in found]


async def dead_letter_groups(deps: Deps, tenant_id: UUID | None) -> DeadLetters:
    """The dead letters of a tenant (None: of all) by their reason."""
    tenants = None if tenant_id is None else (tenant_id,)
    async with reading(deps.db, tenants) as tx:
        found = await dead_letters.groups(tx, tenant_id, most=_MOST_DEAD + 1, shown=_MOST_GROUPS)
    counted = found[0].of_letters if found else 0
    hidden = found[0].of_groups - len(found) if found else 0
    return DeadLetters(found, min(counted, _MOST_DEAD), counted > _MOST_DEAD, hidden)


def _missing() -> NotFound:
    return NotFound("There is no such delivery.")
