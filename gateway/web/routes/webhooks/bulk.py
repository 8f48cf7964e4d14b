"""Bulk operations: start those on deliveries; list, read and stop all of them."""

from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.core.model import Scope, Tenant
from gateway.errors import BadRequest
from gateway.flows.bulk import deliveries, jobs
from gateway.flows.bulk.deliveries import KINDS, DeliverySpan
from gateway.flows.bulk.start import DryRun
from gateway.flows.deps import Deps
from gateway.flows.read.deliveries import check_statuses
from gateway.store.delivery_search.filter import DeliveryFilter
from gateway.store.work.bulk_operations import Operation
from gateway.web.asgi.request_context import Caller
from gateway.web.auth import require_scope
from gateway.web.context import AnyRequest, Injected
from gateway.web.respond.paging import one_page, read_cursor
from gateway.web.schemas.timestamps import plain
from gateway.web.schemas.webhook_requests import BulkQuery, ResendIn, SinceIn
from gateway.web.schemas.webhook_responses import BulkOut, DeliveriesDryRunOut, DryRunOut

# One scope is for operations on deliveries, the other for those on jobs; handlers check which.
_READ = {"scope": Scope.ENDPOINTS_READ, "or_scopes": (Scope.JOBS_READ,)}
_STOP = {"scope": Scope.ENDPOINTS_WRITE, "or_scopes": (Scope.JOBS_WRITE, Scope.SUPPORT)}
_ACT = {"scope": Scope.ENDPOINTS_WRITE, "or_scopes": (Scope.SUPPORT,)}


@post(
    "/endpoint/{endpoint_id:uuid}/recover",
    opt=_ACT,
    status_code=200,
    operation_id="recoverEndpoint",
    summary="Recover an endpoint: resend what was not delivered",
)
async def recover_endpoint(
    endpoint_id: FromPath[UUID],
    payload: Injected[SinceIn],
    tenant: Injected[Tenant],
    deps: Injected[Deps],
) -> BulkOut | DeliveriesDryRunOut:
    """Resends deliveries created since then that are exhausted, parked, or wait for an attempt."""
    span = _span(deps, payload)
    return _shown(
        await deliveries.recover(deps, tenant.id, endpoint_id, span, dry_run=payload.dry_run)
    )


@post(
    "/delivery/recover",
    opt=_ACT,
    status_code=200,
    operation_id="recoverDeliveries",
    summary="Recover all endpoints: resend what was not delivered",
)
async def recover_deliveries(
    payload: Injected[SinceIn], tenant: Injected[Tenant], deps: Injected[Deps]
) -> BulkOut | DeliveriesDryRunOut:
    """For all endpoints that are not disabled, and for callback URLs of jobs."""
    span = _span(deps, payload)
    return _shown(await deliveries.recover(deps, tenant.id, None, span, dry_run=payload.dry_run))


@post(
    "/endpoint/{endpoint_id:uuid}/replay-missing",
    opt=_ACT,
    status_code=200,
    operation_id="replayMissingEvents",
    summary="Send an endpoint the events that it never received",
)
async def replay_missing_events(
    endpoint_id: FromPath[UUID],
    payload: Injected[SinceIn],
    tenant: Injected[Tenant],
    deps: Injected[Deps],
) -> BulkOut | DryRunOut:
    """Events of its types, including those from before it was created."""
    span = _span(deps, payload)
    begun = await deliveries.replay_missing(
        deps, tenant.id, endpoint_id, span, dry_run=payload.dry_run
    )
    return DryRunOut(True, begun.count) if isinstance(begun, DryRun) else BulkOut.of(begun)


@post(
    "/delivery/resend",
    opt=_ACT,
    status_code=200,
    operation_id="resendDeliveries",
    summary="Resend all deliveries of a filter",
)
async def resend_deliveries(
    payload: Injected[ResendIn], tenant: Injected[Tenant], deps: Injected[Deps]
) -> BulkOut | DeliveriesDryRunOut:
    """Delivered or not; those that are being sent right now are skipped. The filter must not be empty."""
    wanted = payload.filter.of_tenant(tenant.id)
    check_statuses(wanted.statuses)
    if wanted == DeliveryFilter(tenant.id):
        reason = "is empty, which would resend every delivery; name at least one field"
        raise BadRequest.of("filter", reason)
    return _shown(await deliveries.resend(deps, wanted, dry_run=payload.dry_run))


@get(
    "/bulk",
    opt=_READ,
    operation_id="listBulkOperations",
    summary="List bulk operations, newest first",
)
async def list_bulk_operations(
    parameters: Injected[BulkQuery],
    tenant: Injected[Tenant],
    caller: Injected[Caller],
    deps: Injected[Deps],
    request: AnyRequest,
) -> Response[list[BulkOut]]:
    """A bare array of the operations that the key may read; the header Link names the next page."""
    before = read_cursor(parameters.cursor).last
    readable = [kind for kind in KINDS | jobs.KINDS if _read_scope(kind) in caller.key.scopes]
    found = await deliveries.list_operations(
        deps, tenant.id, before, parameters.size + 1, kinds=readable
    )
    page, headers = one_page(request, found, parameters.size)
    return Response([BulkOut.of(one) for one in page], headers=headers)


@get(
    "/bulk/{operation_id:uuid}",
    opt=_READ,
    operation_id="getBulkOperation",
    summary="Read the progress of a bulk operation",
)
async def get_bulk_operation(
    operation_id: FromPath[UUID],
    tenant: Injected[Tenant],
    caller: Injected[Caller],
    deps: Injected[Deps],
) -> BulkOut:
    """`done` grows until `state` is done or stopped."""
    operation = await deliveries.find_operation(deps, tenant.id, operation_id)
    require_scope(caller.key, _read_scope(operation.kind))
    return BulkOut.of(operation)


@post(
    "/bulk/{operation_id:uuid}/stop",
    opt=_STOP,
    status_code=200,
    operation_id="stopBulkOperation",
    summary="Stop a bulk operation",
)
async def stop_bulk_operation(
    operation_id: FromPath[UUID],
    tenant: Injected[Tenant],
    caller: Injected[Caller],
    deps: Injected[Deps],
) -> BulkOut:
    """Rows that were processed before stay changed."""
    operation = await deliveries.find_operation(deps, tenant.id, operation_id)
    write = Scope.ENDPOINTS_WRITE if operation.kind in KINDS else Scope.JOBS_WRITE
    require_scope(caller.key, write, Scope.SUPPORT)
    return BulkOut.of(await deliveries.stop(deps, tenant.id, operation_id))


def _read_scope(kind: str) -> Scope:
    return Scope.ENDPOINTS_READ if kind in KINDS else Scope.JOBS_READ


def _span(deps: Deps, payload: SinceIn) -> DeliverySpan:
    since = plain(payload.since)
    if since > deps.clock.now():
        raise BadRequest.of("since", "is in the future")
    until = payload.until and plain(payload.until)
    if until is not None and until <= since:
        raise BadRequest.of("until", "is not after since")
    return DeliverySpan(since, until)


def _shown(begun: Operation | DryRun) -> BulkOut | DeliveriesDryRunOut:
    if isinstance(begun, Operation):
        return BulkOut.of(begun)
    return DeliveriesDryRunOut(True, begun.count, dict(begun.states), begun.disabled)


HANDLERS = [
    recover_endpoint,
    recover_deliveries,
    replay_missing_events,
    resend_deliveries,
    list_bulk_operations,
    get_bulk_operation,
    stop_bulk_operation,
]
