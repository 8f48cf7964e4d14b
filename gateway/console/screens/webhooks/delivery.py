"""Delivery: each attempt with its request, its response and its timings; resend."""

import json
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from msgspec import Meta

from gateway.console.links import DELIVERIES, SIGNATURE, Told, link
from gateway.console.screens.webhooks.deliveries import slug_of
from gateway.console.screens.webhooks.timings import timing_parts
from gateway.console.view import View
from gateway.core.model import Attempt, DeliveryState, Endpoint, Scope
from gateway.core.webhooks.failure_causes import failure_cause
from gateway.errors import NotFound
from gateway.flows.admin.audit import note_before
from gateway.flows.deliver.endpoints import find_endpoint
from gateway.flows.deliver.resend import resend_delivery as send_again
from gateway.flows.read.deliveries import DeliveryLog, find_delivery, find_delivery_owner
from gateway.web.context import Injected
from gateway.web.schemas.requests import In

_TOLD = {"resent": "It is sent again now, with the same webhook-id and the same bytes."}


class DeliveryView(In):
    """Which attempt is shown; the last one without a number."""

    attempt: Annotated[int, Meta(ge=1)] | None = None
    told: Told = ""


@get("/deliveries/{delivery_id:uuid}", opt={"scope": Scope.ENDPOINTS_READ})
async def show_delivery(
    delivery_id: FromPath[UUID], parameters: Injected[DeliveryView], view: Injected[View]
) -> Response[bytes]:
    """One delivery."""
    found = await delivery_of(view, delivery_id)
    delivery = found.delivery
    endpoint = await _endpoint(view, found)
    shown = _chosen(found.attempts, parameters.attempt)
    return view.page(
        "webhooks/delivery.html",
        delivery=delivery,
        tenant=await slug_of(view, delivery),
        body=found.body,
        endpoint=endpoint,
        attempts=found.attempts,
        attempt=shown,
        timings=timing_parts(shown) if shown else [],
        sent=_headers(shown.request_headers if shown else None),
        answered=_headers(shown.response_headers if shown else None),
        cause=failure_cause(delivery.last_class) if delivery.last_class else None,
        is_open=delivery.state is DeliveryState.PENDING,
        may_resend=_may_resend(found, endpoint),
        path=view.at(f"{DELIVERIES}/{delivery.id}"),
        signature=link(view.at(SIGNATURE), delivery=str(delivery.id)),
        told=_TOLD.get(parameters.told, ""),
    )


@post("/deliveries/{delivery_id:uuid}/resend", status_code=200, opt={"scope": Scope.SUPPORT})
async def resend_delivery(delivery_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Send it again at once."""
    own = view.signed_in.tenant
    owner = await find_delivery_owner(view.deps, delivery_id, None if own is None else (own.id,))
    await note_before(view.deps, view.signed_in.actor, "delivery.resent", str(delivery_id), owner)
    await send_again(view.deps, owner, delivery_id)
    return view.go(view.at(f"{DELIVERIES}/{delivery_id}?told=resent"))


async def delivery_of(view: View, delivery_id: UUID) -> DeliveryLog:
    """A delivery that the session may see, with its attempts; raises NotFound."""
    own = view.signed_in.tenant
    owner = await find_delivery_owner(view.deps, delivery_id, None if own is None else (own.id,))
    return await find_delivery(view.deps, owner, delivery_id)


async def _endpoint(view: View, found: DeliveryLog) -> Endpoint | None:
    delivery = found.delivery
    if delivery.endpoint_id is None:
        return None
    try:
        return await find_endpoint(view.deps, delivery.tenant_id, delivery.endpoint_id)
    except NotFound:  # it was deleted
        return None


def _may_resend(found: DeliveryLog, endpoint: Endpoint | None) -> bool:
    """Whether it can be sent again: the same rules as those of the flow."""
    delivery = found.delivery
    if delivery.is_sample:
        return False
    if delivery.endpoint_id is None:
        return True
    return endpoint is not None and endpoint.disabled_at is None


def _chosen(attempts: Sequence[Attempt], number: int | None) -> Attempt | None:
    chosen = [one for one in attempts if one.number == number]
    return (chosen or list(attempts[-1:]) or [None])[0]


def _headers(text: str | None) -> list[tuple[str, str]]:
    headers: dict[str, str] = json.loads(text or "{}")
    return list(headers.items())


HANDLERS = [show_delivery, resend_delivery]
