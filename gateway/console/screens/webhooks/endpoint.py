"""Endpoint: how it is doing, what it has not received, and what can be done about it."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.console.links import DELIVERIES, ENDPOINTS, Told, link
from gateway.console.screens.webhooks.endpoints import health_pill, health_since
from gateway.console.screens.webhooks.strip import strip
from gateway.console.view import View
from gateway.core.events import EVENT_TYPES, TEST_PING
from gateway.core.model import Endpoint, Scope, Tenant
from gateway.core.webhooks.judge_reply import DISABLE_AFTER_SECONDS
from gateway.errors import BadRequest
from gateway.flows.admin.audit import note_before
from gateway.flows.bulk.lists import OperationFilter, operations
from gateway.flows.deliver import endpoints as flow
from gateway.flows.deliver.check_receiver import check_receiver
from gateway.flows.deliver.sample import try_endpoint
from gateway.flows.read.endpoints import MOST_COUNTED, endpoint_record
from gateway.web.context import Injected
from gateway.web.schemas.requests import In

_TOLD = {
    "enabled": "It is enabled: new events are delivered from now on. What was parked waits to be sent.",
    "disabled": "It is disabled: its deliveries are parked from now on.",
    "changed": "The changes are stored.",
}
_DAY = timedelta(days=1)
_REASON = 200
_MOST_RUNNING = 5


class EndpointView(In):
    """What was just done."""

    told: Told = ""


@get("/endpoints/{endpoint_id:uuid}", opt={"scope": Scope.ENDPOINTS_READ})
async def show_endpoint(
    endpoint_id: FromPath[UUID], parameters: Injected[EndpointView], view: Injected[View]
) -> Response[bytes]:
    """One endpoint."""
    endpoint = await endpoint_of(view, endpoint_id)
    running = OperationFilter(endpoint.tenant_id, "running", endpoint.id)
    record, begun, tenant = await asyncio.gather(
        endpoint_record(view.deps, endpoint.tenant_id, endpoint.id),
        operations(view.deps, running, None, _MOST_RUNNING),
        tenant_of(view, endpoint),
    )
    now = view.deps.clock.now()
    return view.page(
        "webhooks/endpoint.html",
        endpoint=endpoint,
        tenant=tenant.slug,
        pill=health_pill(endpoint),
        since=health_since(endpoint),
        record=record,
        bars=strip(record.attempts),
        running=begun,
        most=MOST_COUNTED,
        events=EVENT_TYPES,
        test_ping=TEST_PING,
        undelivered_since=endpoint.failing_since or endpoint.disabled_at or now - _DAY,
        ends_at=_ends_at(endpoint),
        path=view.at(f"{ENDPOINTS}/{endpoint.id}"),
        deliveries=link(view.at(DELIVERIES), endpoint=str(endpoint.id)),
        told=_TOLD.get(parameters.told, ""),
    )


@post("/endpoints/{endpoint_id:uuid}/test", status_code=200, opt={"scope": Scope.SUPPORT})
async def test_endpoint(endpoint_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Send a sample event, and show what happened."""
    endpoint = await endpoint_of(view, endpoint_id)
    tenant, kind = await tenant_of(view, endpoint), view.form.get("type", TEST_PING)
    if kind not in EVENT_TYPES:
        raise BadRequest.of("type", f"is not one of {', '.join(EVENT_TYPES)}")
    await noted(view, endpoint, "tested", type=kind)
    with view.context.samples.room(str(tenant.id)):
        trial = await try_endpoint(view.deps, tenant, endpoint.id, kind)
    return view.go(view.at(f"{DELIVERIES}/{trial.delivery_id}"))


@post("/endpoints/{endpoint_id:uuid}/check", status_code=200, opt={"scope": Scope.SUPPORT})
async def check_endpoint(endpoint_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Check the way to the receiver, and show each step."""
    endpoint = await endpoint_of(view, endpoint_id)
    tenant = await tenant_of(view, endpoint)
    await noted(view, endpoint, "checked")
    is_staff = view.signed_in.tenant is None
    with view.context.samples.room(str(tenant.id)):
        check = await check_receiver(view.deps, tenant, endpoint.id, sees_inside=is_staff)
    return view.page(
        "webhooks/check.html",
        endpoint=endpoint,
        check=check,
        path=view.at(f"{ENDPOINTS}/{endpoint.id}"),
    )


@post("/endpoints/{endpoint_id:uuid}/enable", status_code=200, opt={"scope": Scope.ENDPOINTS_WRITE})
async def enable_endpoint(endpoint_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Deliver to it again."""
    endpoint = await endpoint_of(view, endpoint_id)
    await noted(view, endpoint, "enabled")
    await flow.enable_endpoint(view.deps, endpoint.tenant_id, endpoint.id)
    return view.go(view.at(f"{ENDPOINTS}/{endpoint.id}?told=enabled"))


@post(
    "/endpoints/{endpoint_id:uuid}/disable", status_code=200, opt={"scope": Scope.ENDPOINTS_WRITE}
)
async def disable_endpoint(endpoint_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Deliver nothing more to it."""
    endpoint = await endpoint_of(view, endpoint_id)
    reason = view.form.get("reason", "").strip() or flow.DISABLED
    if len(reason) > _REASON:
        raise BadRequest.of("reason", f"must have at most {_REASON} characters")
    await noted(view, endpoint, "disabled", reason=reason)
    await flow.disable_endpoint(view.deps, endpoint.tenant_id, endpoint.id, reason)
    return view.go(view.at(f"{ENDPOINTS}/{endpoint.id}?told=disabled"))


async def endpoint_of(view: View, endpoint_id: UUID) -> Endpoint:
    """An endpoint that the session may see; raises NotFound."""
    own = view.signed_in.tenant
    allowed = None if own is None else (own.id,)
    owner = await flow.find_endpoint_owner(view.deps, endpoint_id, allowed)
    return await flow.find_endpoint(view.deps, owner, endpoint_id)


async def tenant_of(view: View, endpoint: Endpoint) -> Tenant:
    """The tenant of an endpoint."""
    return (await view.context.identities.tenant_by_id(endpoint.tenant_id)).tenant


async def noted(view: View, endpoint: Endpoint, act: str, **detail: object) -> None:
    """Note what the person is about to do to an endpoint."""
    await note_before(
        view.deps,
        view.signed_in.actor,
        f"endpoint.{act}",
        str(endpoint.id),
        endpoint.tenant_id,
        **detail,
    )


def _ends_at(endpoint: Endpoint) -> datetime | None:
    """When it is disabled if it goes on failing."""
    if endpoint.disabled_at is not None or endpoint.failing_since is None:
        return None
    return endpoint.failing_since + timedelta(seconds=DISABLE_AFTER_SECONDS)


HANDLERS = [show_endpoint, test_endpoint, check_endpoint, enable_endpoint, disable_endpoint]
