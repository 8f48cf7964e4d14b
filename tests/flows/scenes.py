"""Where tests of several verbs begin: jobs in doubt, deliveries that are owed."""

import json
from datetime import UTC, datetime
from uuid import UUID

from gateway.core.model import Tenant
from gateway.core.webhooks.signing import verify
from gateway.flows.deps import secret_place
from gateway.ports import Unknown, Webhook
from gateway.store.database import AnyRow
from gateway.store.webhooks import endpoints
from tests.builders import add_deliveries
from tests.flows.fakes import Took
from tests.flows.world import HOOK, World

OTHER = "https://other.example.com/hook"
LOST = Unknown("connection reset")


async def in_doubt(world: World, tenant: Tenant, count: int = 1, *, taken: bool) -> list[UUID]:
    """Jobs whose submit was not clearly answered, due to be looked up."""
    ids = await world.accept(tenant, count)
    world.upstream.will("submit", *[Took(LOST) if taken else LOST] * count)
    while await world.submit():
        pass
    await world.pass_time(3)
    world.queue.wakes.clear()
    return ids


async def owe(world: World, count: int = 1, **fields: object) -> Tenant:
    """A tenant with an endpoint that is owed events."""
    tenant = await world.tenant(hook=HOOK, events=["job.succeeded"])
    await world.ended(tenant, count, **fields)
    world.queue.wakes.clear()
    return tenant


async def secret_of(world: World, endpoint_id: UUID | None, tenant: Tenant) -> bytes:
    async with world.deps.db.single() as tx:
        stored = await endpoints.secret(tx, tenant.id, endpoint_id)
    assert stored is not None
    return world.deps.cipher.open(stored.sealed, secret_place(tenant.id, stored.id))


def check(webhook: Webhook, secret: bytes, now: datetime | None = None) -> None:
    verify(
        [secret],
        dict(webhook.headers),
        webhook.body,
        now=(now or datetime.now(UTC)).timestamp(),
    )


async def attempts(world: World) -> list:
    return list(await world.rows("SELECT * FROM attempt ORDER BY delivery_id, number"))


async def endpoint_row(world: World, url: str = HOOK) -> AnyRow:
    """An endpoint; `tenant` is its tenant's slug."""
    return await world.row(
        "SELECT e.*, t.slug AS tenant FROM endpoint e JOIN tenant t ON t.id = e.tenant_id"
        " WHERE e.url = $1",
        url,
    )


async def owe_rows(
    world: World, tenant: Tenant, endpoint_id: UUID | None, count: int, state: str = "exhausted"
) -> list[UUID]:
    """Deliveries to an endpoint, without the jobs that would cause them."""
    async with world.deps.db.begin() as tx:
        return await add_deliveries(tx, tenant.id, endpoint_id, count, state=state)


async def set_pace(world: World, seconds: float, workflow: str = "stems") -> None:
    pace = json.dumps({"typical": {workflow: seconds}, "shortest": {workflow: seconds}})
    await world.run("UPDATE credential SET pace = $1", pace)
