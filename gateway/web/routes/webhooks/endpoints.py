"""Webhook endpoints: create, read, change, delete, test, check, enable and disable them."""

from uuid import UUID

from litestar import Response, delete, get, patch, post
from litestar.params import FromPath
from msgspec import UNSET

from gateway.core.model import Scope, Tenant
from gateway.core.webhooks.custom_headers import HIDDEN
from gateway.errors import BadRequest
from gateway.flows.deliver import endpoints
from gateway.flows.deliver.check_receiver import check_receiver
from gateway.flows.deliver.endpoints import DISABLED, EndpointSpec
from gateway.flows.deliver.sample import try_endpoint
from gateway.flows.deps import Deps
from gateway.web.context import AnyRequest, Context, Injected
from gateway.web.respond.paging import one_page, read_cursor
from gateway.web.schemas.check_responses import EndpointCheckOut
from gateway.web.schemas.delivery_responses import TrialOut
from gateway.web.schemas.responses import Deleted
from gateway.web.schemas.webhook_requests import (
    DisablingIn,
    EndpointChange,
    EndpointIn,
    EndpointsQuery,
    Headers,
    SampleIn,
)
from gateway.web.schemas.webhook_responses import (
    EndpointEnabled,
    EndpointMade,
    EndpointOut,
    shown_key,
)

_READ = {"scope": Scope.ENDPOINTS_READ}
_WRITE = {"scope": Scope.ENDPOINTS_WRITE}
_TEST = {**_WRITE, "or_scopes": (Scope.SUPPORT,)}
# The fields of EndpointSpec, and what null stands for; None is the gateway's default.
_DEFAULTS = {
    "url": None,
    "description": "",
    "events": (),
    "headers": dict[str, str](),
    "schedule": None,
    "concurrency": None,
    "rate_limit": None,
}


@post(
    "/endpoint",
    opt=_WRITE,
    status_code=200,
    operation_id="createEndpoint",
    summary="Create an endpoint; its secret is shown only in this response",
)
async def create_endpoint(
    payload: Injected[EndpointIn], tenant: Injected[Tenant], deps: Injected[Deps]
) -> EndpointMade:
    """Without `events` it receives all types. Of an ed25519 key pair only the public key is shown."""
    wanted = EndpointSpec(
        payload.url,
        payload.description or "",
        payload.events or (),
        _require_values(payload.headers or {}),
        payload.schedule,
        payload.concurrency,
        payload.rate_limit,
    )
    endpoint, key = await endpoints.create_endpoint(
        deps,
        tenant.id,
        wanted,
        algorithm=payload.algorithm,
        secret=payload.secret,
        most=tenant.limits.max_endpoints,
    )
    return EndpointMade.of(endpoint, **shown_key(key, tenant.id, endpoint.id))


@get(
    "/endpoint",
    opt=_READ,
    operation_id="listEndpoints",
    summary="List the endpoints",
)
async def list_endpoints(
    parameters: Injected[EndpointsQuery],
    tenant: Injected[Tenant],
    deps: Injected[Deps],
    request: AnyRequest,
) -> Response[list[EndpointOut]]:
    """Oldest first; the header Link names the next page."""
    after = read_cursor(parameters.cursor).last
    found = await endpoints.list_endpoints(deps, tenant.id, after, parameters.size + 1)
    page, headers = one_page(request, found, parameters.size)
    return Response([EndpointOut.of(one) for one in page], headers=headers)


@get(
    "/endpoint/{endpoint_id:uuid}",
    opt=_READ,
    operation_id="getEndpoint",
    summary="Read an endpoint",
)
async def get_endpoint(
    endpoint_id: FromPath[UUID], tenant: Injected[Tenant], deps: Injected[Deps]
) -> EndpointOut:
    """Without its secret, and without the values of its headers."""
    return EndpointOut.of(await endpoints.find_endpoint(deps, tenant.id, endpoint_id))


@patch(
    "/endpoint/{endpoint_id:uuid}",
    opt=_WRITE,
    status_code=200,
    operation_id="updateEndpoint",
    summary="Change an endpoint",
)
async def update_endpoint(
    endpoint_id: FromPath[UUID],
    payload: Injected[EndpointChange],
    tenant: Injected[Tenant],
    deps: Injected[Deps],
) -> EndpointOut:
    """A merge patch (RFC 7396), in headers too: what is left out stays.

    Null restores the default, and removes a header. Lists are replaced as a whole.
    """
    named = {name: getattr(payload, name) for name in _DEFAULTS}
    headers = payload.headers or None
    changes = {
        name: _DEFAULTS[name] if value is None else value
        for name, value in named.items()
        if value is not UNSET and (name != "headers" or value is None)
    }
    changed = await endpoints.change_endpoint(deps, tenant.id, endpoint_id, changes, headers)
    return EndpointOut.of(changed)


@delete(
    "/endpoint/{endpoint_id:uuid}",
    opt=_WRITE,
    status_code=200,
    operation_id="deleteEndpoint",
    summary="Delete an endpoint",
)
async def delete_endpoint(
    endpoint_id: FromPath[UUID], tenant: Injected[Tenant], deps: Injected[Deps]
) -> Deleted:
    """Its waiting deliveries are not sent."""
    await endpoints.delete_endpoint(deps, tenant.id, endpoint_id)
    return Deleted(str(endpoint_id))


@post(
    "/endpoint/{endpoint_id:uuid}/test",
    opt=_TEST,
    status_code=200,
    operation_id="testEndpoint",
    summary="Send a sample event now and read the result",
)
async def test_endpoint(
    endpoint_id: FromPath[UUID],
    payload: Injected[SampleIn],
    tenant: Injected[Tenant],
    context: Injected[Context],
) -> TrialOut:
    """The status is 200 for any answer of the receiver. Disabled endpoints are tested too; nothing is retried."""
    with context.samples.room(str(tenant.id)):
        return TrialOut.of(await try_endpoint(context.deps, tenant, endpoint_id, payload.type))


@post(
    "/endpoint/{endpoint_id:uuid}/check",
    opt=_TEST,
    status_code=200,
    operation_id="checkEndpoint",
    summary="Check the way to the receiver step by step",
)
async def check_endpoint(
    endpoint_id: FromPath[UUID], tenant: Injected[Tenant], context: Injected[Context]
) -> EndpointCheckOut:
    """Name, SSRF guard, connection, certificate, and a signed test event, within 10 seconds in all.

    The status is 200 whatever is found. Redirects are not followed. Disabled endpoints are checked too.
    """
    with context.samples.room(str(tenant.id)):
        return EndpointCheckOut.of(await check_receiver(context.deps, tenant, endpoint_id))


@post(
    "/endpoint/{endpoint_id:uuid}/enable",
    opt=_WRITE,
    status_code=200,
    operation_id="enableEndpoint",
    summary="Enable an endpoint",
)
async def enable_endpoint(
    endpoint_id: FromPath[UUID], tenant: Injected[Tenant], deps: Injected[Deps]
) -> EndpointEnabled:
    """New events are delivered from now on; `recover` sends the deliveries that were parked before."""
    enabled = await endpoints.enable_endpoint(deps, tenant.id, endpoint_id)
    return EndpointEnabled.of(enabled.endpoint, parked_deliveries=enabled.parked)


@post(
    "/endpoint/{endpoint_id:uuid}/disable",
    opt=_WRITE,
    status_code=200,
    operation_id="disableEndpoint",
    summary="Disable an endpoint",
)
async def disable_endpoint(
    endpoint_id: FromPath[UUID],
    payload: Injected[DisablingIn],
    tenant: Injected[Tenant],
    deps: Injected[Deps],
) -> EndpointOut:
    """Deliveries for it are parked from now on."""
    reason = payload.reason or DISABLED
    return EndpointOut.of(await endpoints.disable_endpoint(deps, tenant.id, endpoint_id, reason))


def _require_values(headers: Headers) -> Headers:
    for name, value in headers.items():
        if value == HIDDEN:
            reason = f"{HIDDEN} is shown in place of a value, and is no value itself"
            raise BadRequest.of(f"headers.{name}", reason)
    return headers


HANDLERS = [
    create_endpoint,
    list_endpoints,
    get_endpoint,
    update_endpoint,
    delete_endpoint,
    test_endpoint,
    check_endpoint,
    enable_endpoint,
    disable_endpoint,
]
