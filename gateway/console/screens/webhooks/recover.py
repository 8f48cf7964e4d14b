"""Send an endpoint what it has not received: first the count, then the operation."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.console.links import BULK, ENDPOINTS
from gateway.console.screens.webhooks.endpoint import endpoint_of, tenant_of
from gateway.console.show.words import machine
from gateway.console.view import View
from gateway.core.model import Endpoint, Scope
from gateway.errors import BadRequest
from gateway.flows.admin.audit import note_before
from gateway.flows.bulk.deliveries import DeliverySpan, recover, replay_missing
from gateway.flows.bulk.start import DryRun
from gateway.store.work.bulk_operations import Operation
from gateway.web.context import Injected
from gateway.web.schemas.requests import In
from gateway.web.schemas.timestamps import Instant, plain, read_instant

Kind = Literal["recover", "replay-missing"]
_KINDS: dict[str, Kind] = {"recover": "recover", "replay-missing": "replay-missing"}
_SUPPORT = {"scope": Scope.SUPPORT}


class RecoverView(In):
    """What is to be sent: everything undelivered, or the events that it never got, of a time."""

    since: Instant
    kind: Kind = "recover"


@get("/endpoints/{endpoint_id:uuid}/send", opt=_SUPPORT)
async def show_recover(
    endpoint_id: FromPath[UUID], parameters: Injected[RecoverView], view: Injected[View]
) -> Response[bytes]:
    """How many there are at this moment, and the button that sends them."""
    endpoint, now = await endpoint_of(view, endpoint_id), view.deps.clock.now()
    span = _span(plain(parameters.since), now, now)
    counted = await _begin(view, endpoint, parameters.kind, span, dry_run=True)
    return view.page(
        "webhooks/recover.html",
        endpoint=endpoint,
        tenant=(await tenant_of(view, endpoint)).slug,
        kind=parameters.kind,
        span=span,
        now_is=now,
        counted=counted,
        path=view.at(f"{ENDPOINTS}/{endpoint.id}"),
        fields={"kind": parameters.kind, "since": machine(span.since), "until": machine(now)},
    )


@post("/endpoints/{endpoint_id:uuid}/send", status_code=200, opt=_SUPPORT)
async def start_recover(endpoint_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Begin the operation on what was counted, and show its progress."""
    endpoint, now = await endpoint_of(view, endpoint_id), view.deps.clock.now()
    kind = _KINDS.get(view.form.get("kind", ""))
    if kind is None:
        raise BadRequest.of("kind", f"is not one of {', '.join(_KINDS)}")
    since, until = read_time(view, "since"), read_time(view, "until")
    begun = await _begin(view, endpoint, kind, _span(since, until, now), dry_run=False)
    return view.go(await noted_start(view, endpoint.tenant_id, begun))


async def noted_start(view: View, tenant_id: UUID, begun: Operation | DryRun) -> str:
    """Note an operation that a person has begun; returns where its progress is shown."""
    if not isinstance(begun, Operation):
        raise TypeError("a dry run begins nothing")
    detail = {"kind": begun.kind, "total": begun.total}
    await note_before(
        view.deps, view.signed_in.actor, "bulk.started", str(begun.id), tenant_id, **detail
    )
    return view.at(f"{BULK}/{begun.id}")


def read_time(view: View, name: str) -> datetime:
    """A time of the form; raises BadRequest."""
    try:
        return plain(read_instant(view.form.get(name, "")))
    except ValueError as error:
        raise BadRequest.of(name, str(error)) from None


def _span(since: datetime, until: datetime, now: datetime) -> DeliverySpan:
    if since > now:
        raise BadRequest.of("since", "is in the future")
    if until <= since:
        raise BadRequest.of("until", "is not after since")
    return DeliverySpan(since, until)


async def _begin(
    view: View, endpoint: Endpoint, kind: Kind, span: DeliverySpan, *, dry_run: bool
) -> Operation | DryRun:
    act = recover if kind == "recover" else replay_missing
    return await act(view.deps, endpoint.tenant_id, endpoint.id, span, dry_run=dry_run)


HANDLERS = [show_recover, start_recover]
