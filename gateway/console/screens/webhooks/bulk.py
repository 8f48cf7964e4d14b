"""Bulk operations: the list, and one with its progress; stop."""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from msgspec import field, structs

from gateway.console.links import BULK, Cursor, with_changes
from gateway.console.screens.webhooks.tenant_filter import chosen_tenant
from gateway.console.show.json_view import json_view
from gateway.console.show.states import Pill
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.core.text.cursor import encode_cursor
from gateway.flows.admin.audit import note_before
from gateway.flows.admin.tenants import tenant_slugs
from gateway.flows.bulk import deliveries
from gateway.flows.bulk.lists import OperationFilter, find_operation_owner, operations
from gateway.store.work.bulk_operations import Operation
from gateway.web.context import Injected
from gateway.web.respond.paging import read_cursor
from gateway.web.schemas.requests import Choice, In

State = Literal["running", "done", "stopped"]
_SIZE = 50
_STATES: dict[State, Pill] = {
    "running": Pill("runs", "running"),
    "done": Pill("good", "done"),
    "stopped": Pill("person", "stopped"),
}
KINDS = {
    "resend": "resend deliveries",
    "recover": "send everything undelivered",
    "replay-missing": "send missing events",
    "cancel-jobs": "cancel jobs",
    "retry-jobs": "retry jobs",
    "resend-webhooks": "resend webhooks of jobs",
}
_READS = {"scope": Scope.ENDPOINTS_READ}


class BulkView(In):
    """Which operations the list shows."""

    tenant: Choice = field(default_factory=list[str])
    state: State | None = None
    cursor: Cursor = ""


class OperationRow(NamedTuple):
    """An operation as it is shown."""

    operation: Operation
    tenant: str
    what: str
    pill: Pill
    seconds_left: float | None


@get("/bulk", opt=_READS)
async def show_bulk(parameters: Injected[BulkView], view: Injected[View]) -> Response[bytes]:
    """One page of operations, newest first."""
    wanted = OperationFilter(await chosen_tenant(view, parameters.tenant), parameters.state)
    found = await operations(view.deps, wanted, read_cursor(parameters.cursor).last, _SIZE + 1)
    page = found[:_SIZE]
    return view.page(
        "webhooks/bulk.html",
        rows=await operation_rows(view, page),
        given=parameters,
        states=[(pill.word, with_changes(view, state=name)) for name, pill in _STATES.items()],
        all_states=with_changes(view, state=""),
        first=with_changes(view) if parameters.cursor else "",
        older=with_changes(view, cursor=encode_cursor(page[-1].id)) if len(found) > _SIZE else "",
        is_filtered=structs.replace(parameters, cursor="") != BulkView(),
    )


@get("/bulk/{operation_id:uuid}", opt=_READS)
async def show_operation(operation_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """One operation with its progress."""
    operation = await _operation(view, operation_id)
    identity = await view.context.identities.tenant_by_id(operation.tenant_id)
    chosen = {name: value for name, value in _chosen(operation).items() if value}
    return view.page(
        "webhooks/operation.html",
        row=_row(view, operation, identity.tenant.slug),
        path=view.at(f"{BULK}/{operation.id}"),
        filter=json_view(msgspec.json.encode(chosen).decode()),
    )


@post("/bulk/{operation_id:uuid}/stop", status_code=200, opt={"scope": Scope.SUPPORT})
async def stop_operation(operation_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Stop it; what was done stays."""
    operation = await _operation(view, operation_id)
    await note_before(
        view.deps,
        view.signed_in.actor,
        "bulk.stopped",
        str(operation.id),
        operation.tenant_id,
        kind=operation.kind,
        total=operation.total,
        done=operation.done,
    )
    await deliveries.stop(view.deps, operation.tenant_id, operation.id)
    return view.go(view.at(f"{BULK}/{operation.id}"))


async def operation_rows(view: View, found: Sequence[Operation]) -> list[OperationRow]:
    """Operations with the names of their tenants."""
    slugs = await tenant_slugs(view.deps, {one.tenant_id for one in found})
    return [_row(view, one, slugs.get(one.tenant_id, "")) for one in found]


def _row(view: View, operation: Operation, tenant: str) -> OperationRow:
    """An operation with its words, and how long it lasts at most."""
    left = (operation.total - operation.done) / view.deps.policy.bulk_rate
    return OperationRow(
        operation,
        tenant,
        KINDS.get(operation.kind, operation.kind),
        _STATES.get(operation.state, Pill("waits", operation.state)),  # type: ignore[call-overload]
        max(left, 0.0) if operation.state == "running" else None,
    )


async def _operation(view: View, operation_id: UUID) -> Operation:
    own = view.signed_in.tenant
    owner = await find_operation_owner(view.deps, operation_id, None if own is None else (own.id,))
    return await deliveries.find_operation(view.deps, owner, operation_id)


def _chosen(operation: Operation) -> dict[str, object]:
    """The filter as it was when the operation began, without the ids of tenants."""
    found: dict[str, object] = msgspec.json.decode(operation.filter)
    return {name: value for name, value in found.items() if name not in ("tenant_id", "tenants")}


HANDLERS = [show_bulk, show_operation, stop_operation]
