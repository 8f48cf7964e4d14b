"""Makes deliveries for tests as the engine does, and the receivers that they go to."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from gateway.store.webhooks import attempts
from gateway.store.webhooks.attempts import Recorded
from gateway.store.work import settlement
from gateway.store.work.settlement import NewDelivery, NewEvent
from tests.builders import attempt_of
from tests.web.conftest import World

HOOK = {"url": "https://hooks.example.com/a"}
BODY = '{"type":"test.ping","timestamp":"2026-01-02T03:04:05.000Z","data":{"a": 1}}'


async def endpoint(world: World, slug: str, **fields: Any) -> str:
    """The id of a new endpoint."""
    return (await world.send("POST", "/v1/endpoint", slug, HOOK | fields))["id"]


async def event(world: World, slug: str, kind: str = "test.ping", job: str | None = None) -> UUID:
    """An event without deliveries."""
    tenant, ids = await world.find(slug), world.deps.ids
    made = NewEvent(ids.uuid(), tenant.id, UUID(job) if job else None, kind, BODY)
    async with world.deps.db.begin() as tx:
        await settlement.add_events(tx, [made])
    return made.id


async def delivery(
    world: World,
    slug: str,
    endpoint_id: str | None,
    *,
    kind: str = "test.ping",
    state: str = "pending",
    job: str | None = None,
) -> str:
    """The id of a delivery that was not tried yet."""
    tenant, event_id = await world.find(slug), await event(world, slug, kind, job)
    lane = UUID(endpoint_id) if endpoint_id else world.deps.ids.uuid()
    owed = NewDelivery(
        world.deps.ids.uuid(),
        tenant.id,
        event_id,
        UUID(job) if job else None,
        lane if endpoint_id else None,
        None if endpoint_id else "https://own.example.com/x",
        lane,
        state,
    )
    async with world.deps.db.begin() as tx:
        await settlement.add_deliveries(tx, [owed])
    return str(owed.id)


async def tried(
    world: World, slug: str, delivery_id: str, state: str = "exhausted", **changes: Any
) -> None:
    """Have a delivery attempted once; by default the answer is 500."""
    tenant, token = await world.find(slug), world.deps.ids.uuid()
    done = replace(attempt_of(), **changes)
    async with world.deps.db.begin() as tx:
        await attempts.lease(tx, UUID(delivery_id), token, 30.0)
        await attempts.record(
            tx, [Recorded(UUID(delivery_id), tenant.id, token, state, 60.0, done)]
        )


async def failed(world: World, slug: str, endpoint_id: str | None, **how: Any) -> str:
    """The id of a delivery whose last attempt failed."""
    made = await delivery(world, slug, endpoint_id, **how)
    await tried(world, slug, made)
    return made


async def succeeded(world: World, slug: str, endpoint_id: str | None, **how: Any) -> str:
    """The id of a delivery that was delivered."""
    made = await delivery(world, slug, endpoint_id, **how)
    await tried(world, slug, made, "delivered", status=204, error_class=None)
    return made
