"""Deliveries: list them, read one with its attempts, resend one."""

from dataclasses import replace
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.core.model import Scope, Tenant
from gateway.flows.deliver import resend
from gateway.flows.deps import Deps
from gateway.flows.read import deliveries
from gateway.web.context import AnyRequest, Injected
from gateway.web.respond.paging import one_page, read_cursor
from gateway.web.schemas.delivery_responses import DeliveryOut, DeliveryWithAttempts
from gateway.web.schemas.webhook_requests import DeliveriesQuery

_READ = {"scope": Scope.ENDPOINTS_READ}
_ACT = {"scope": Scope.ENDPOINTS_WRITE, "or_scopes": (Scope.SUPPORT,)}


@get(
    "/delivery",
    opt=_READ,
    operation_id="listDeliveries",
    summary="List deliveries, newest first",
)
async def list_deliveries(
    parameters: Injected[DeliveriesQuery],
    tenant: Injected[Tenant],
    deps: Injected[Deps],
    request: AnyRequest,
) -> Response[list[DeliveryOut]]:
    """A bare array; the header Link names the next page whenever there is one."""
    cursor = read_cursor(parameters.cursor, deps.page_began())
    wanted = replace(parameters.of_tenant(tenant.id), resent_after=parameters.resent_after)
    found = await deliveries.list_deliveries(deps, wanted, cursor, parameters.size + 1)
    page, headers = one_page(request, found, parameters.size, cursor.began)
    return Response([DeliveryOut.of(one) for one in page], headers=headers)


@get(
    "/delivery/{delivery_id:uuid}",
    opt=_READ,
    operation_id="getDelivery",
    summary="Read a delivery with every attempt",
)
async def get_delivery(
    delivery_id: FromPath[UUID], tenant: Injected[Tenant], deps: Injected[Deps]
) -> DeliveryWithAttempts:
    """Each attempt has its request, its response and its timings."""
    return DeliveryWithAttempts.of_all(
        *await deliveries.find_delivery(deps, tenant.id, delivery_id)
    )


@post(
    "/delivery/{delivery_id:uuid}/resend",
    opt=_ACT,
    status_code=200,
    operation_id="resendDelivery",
    summary="Resend a delivery",
)
async def resend_delivery(
    delivery_id: FromPath[UUID], tenant: Injected[Tenant], deps: Injected[Deps]
) -> DeliveryOut:
    """At once, with the same webhook-id and the same bytes, whether it was delivered before or not."""
    return DeliveryOut.of(await resend.resend_delivery(deps, tenant.id, delivery_id))


HANDLERS = [list_deliveries, get_delivery, resend_delivery]
