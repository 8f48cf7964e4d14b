"""Where tests of bulk operations begin, and how they run them."""

from datetime import UTC, datetime
from uuid import UUID

from gateway.core.model import Tenant
from gateway.flows.bulk.deliveries import DeliverySpan, step
from gateway.flows.bulk.start import DryRun
from gateway.store.database import AnyRow
from gateway.store.work import settlement
from gateway.store.work.bulk_operations import Operation
from gateway.store.work.settlement import NewEvent
from tests.flows.world import HOOK, World

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
EVER = DeliverySpan(LONG_AGO)


async def receiver(world: World, slug: str = "acme", url: str = HOOK) -> tuple[Tenant, UUID]:
    tenant = await world.tenant(slug, credential=False)
    return tenant, await world.endpoint(tenant, url)


async def add_events(world: World, tenant: Tenant, count: int, kind: str = "test.ping") -> None:
    """Events that nobody was owed."""
    ids = [world.deps.ids.uuid() for _ in range(count)]
    async with world.deps.db.begin() as tx:
        await settlement.add_events(tx, [NewEvent(id_, tenant.id, None, kind, "{}") for id_ in ids])


async def operation(world: World) -> AnyRow:
    return await world.row("SELECT * FROM bulk")


async def run_all(world: World) -> None:
    """Do all batches, with the pauses between them."""
    while await step(world.deps, world.acceptor):
        await world.run("UPDATE bulk SET next_at = now() WHERE state = 'running'")


async def resent(world: World) -> int:
    return await world.value("SELECT count(*) FROM delivery WHERE resent_at IS NOT NULL")


def began(made: Operation | DryRun) -> Operation:
    assert isinstance(made, Operation)
    return made
