"""Receivers of webhooks, and what was delivered to them."""

from uuid import UUID

from litestar import delete, get, post
from litestar.params import FromPath

from gateway.core.model import Scope, Tenant
from gateway.errors import NotFound
from gateway.flows.deps import Deps
from gateway.flows.endpoints import create_endpoint, default_secret, delete_endpoint
from gateway.store import deliveries, endpoints
from gateway.web.context import Handed
from gateway.web.shown import Deleted
from gateway.web.shown_webhooks import (
    DeliveryOut,
    DeliveryWithAttempts,
    EndpointMade,
    EndpointOut,
    SecretOut,
)
from gateway.web.wire import DeliveriesQuery, EndpointIn

_READ = {"scope": Scope.ENDPOINTS_READ}
_WRITE = {"scope": Scope.ENDPOINTS_WRITE}


@post(
    "/endpoint",
    opt={**_WRITE, "body": EndpointIn},
    status_code=200,
    summary="Create an endpoint; its secret is shown this once",
)
async def make_endpoint(
    given: Handed[EndpointIn], tenant: Handed[Tenant], deps: Handed[Deps]
) -> EndpointMade:
    """Without events it gets all of them."""
    endpoint, secret = await create_endpoint(
        deps,
        tenant.id,
        url=given.url,
        description=given.description,
        events=given.events,
        secret=given.secret,
    )
    return EndpointMade.of(endpoint, secret=secret)


@get("/endpoint", opt=_READ, summary="List the endpoints")
async def list_endpoints(tenant: Handed[Tenant], deps: Handed[Deps]) -> list[EndpointOut]:
    """All of the tenant's, oldest first."""
    async with deps.db.single() as tx:
        return [EndpointOut.of(one) for one in await endpoints.of_tenant(tx, tenant.id)]


@get("/endpoint/{endpoint_id:uuid}", opt=_READ, summary="Read an endpoint")
async def read_endpoint(
    endpoint_id: FromPath[UUID], tenant: Handed[Tenant], deps: Handed[Deps]
) -> EndpointOut:
    """Without its secret."""
    async with deps.db.single() as tx:
        endpoint = await endpoints.find(tx, tenant.id, endpoint_id)
    if endpoint is None:
        raise NotFound("There is no such endpoint.")
    return EndpointOut.of(endpoint)


@delete("/endpoint/{endpoint_id:uuid}", opt=_WRITE, status_code=200, summary="Delete an endpoint")
async def remove_endpoint(
    endpoint_id: FromPath[UUID], tenant: Handed[Tenant], deps: Handed[Deps]
) -> Deleted:
    """What it was still owed is not sent any more."""
    await delete_endpoint(deps, tenant.id, endpoint_id)
    return Deleted(str(endpoint_id))


@get("/endpoint/default-secret", opt=_WRITE, summary="Read the default signing secret")
async def read_default_secret(tenant: Handed[Tenant], deps: Handed[Deps]) -> SecretOut:
    """It signs what goes to the callback URLs of jobs."""
    return SecretOut(await default_secret(deps, tenant.id))


@get(
    "/delivery",
    opt={**_READ, "query": DeliveriesQuery},
    summary="List the deliveries that a job caused",
)
async def list_deliveries(
    asked: Handed[DeliveriesQuery], tenant: Handed[Tenant], deps: Handed[Deps]
) -> list[DeliveryOut]:
    """Oldest first."""
    async with deps.db.single() as tx:
        found = await deliveries.of_job(tx, tenant.id, asked.job)
    return [DeliveryOut.of(one) for one in found]


@get("/delivery/{delivery_id:uuid}", opt=_READ, summary="Read a delivery with every attempt")
async def read_delivery(
    delivery_id: FromPath[UUID], tenant: Handed[Tenant], deps: Handed[Deps]
) -> DeliveryWithAttempts:
    """What was sent, what came back, and when."""
    async with deps.db.single() as tx:
        delivery = await deliveries.find(tx, tenant.id, delivery_id)
        tries = await deliveries.attempts(tx, tenant.id, [delivery_id])
    if delivery is None:
        raise NotFound("There is no such delivery.")
    return DeliveryWithAttempts.of_all(delivery, [attempt for _, attempt in tries])


HANDLERS = [
    make_endpoint,
    list_endpoints,
    read_endpoint,
    remove_endpoint,
    read_default_secret,
    list_deliveries,
    read_delivery,
]
