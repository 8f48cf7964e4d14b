"""Bulk operations on deliveries: resend, recover after an outage, replay missing events.

A caller starts one; workers do it in steps when a `bulk` wake-up arrives, also those on jobs
(bulk/jobs.py). Tenants take turns. Each batch and the cursor of its operation commit together, so a
crash repeats nothing: another worker goes on from the cursor once the lease has lapsed.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from gateway.errors import Conflict, NotFound
from gateway.flows.accept.acceptor import Acceptor
from gateway.flows.bulk import jobs
from gateway.flows.bulk.start import VERB, DryRun, begin, require_room
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deliver.endpoints import missing
from gateway.flows.deps import Deps
from gateway.store.database import Tx
from gateway.store.delivery_search.filter import DeliveryFilter
from gateway.store.webhooks import endpoints, replays
from gateway.store.webhooks.replays import Counted
from gateway.store.work import bulk_operations
from gateway.store.work.bulk_operations import Operation, Progress

RESEND, RECOVER, REPLAY_MISSING = "resend", "recover", "replay-missing"
KINDS = frozenset({RESEND, RECOVER, REPLAY_MISSING, jobs.RESEND})
UNDELIVERED = ("pending", "exhausted", "parked")
_BATCH = 200
_RUNNING = "running"
_NOBODY = UUID(int=0)
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeliverySpan:
    """A span of creation times: from `since` on, and before `until`."""

    since: datetime
    until: datetime | None = None


async def resend(
    deps: Deps, wanted: DeliveryFilter, *, dry_run: bool = False
) -> Operation | DryRun:
    """Send the deliveries that a filter selects again, but those that are being sent. Raises BulkFull."""
    return await _begin(deps, RESEND, wanted, dry_run)


async def recover(
    deps: Deps,
    tenant_id: UUID,
    endpoint_id: UUID | None,
    span: DeliverySpan,
    *,
    dry_run: bool = False,
) -> Operation | DryRun:
    """Send all that was not delivered to an endpoint, or without one to any receiver of the tenant.

    These are open deliveries, which only become due now, dead letters and parked ones. Raises
    NotFound, BulkFull, and Conflict if the endpoint is disabled.
    """
    if endpoint_id is not None:
        await _require_enabled(deps, tenant_id, endpoint_id)
    wanted = _filter(tenant_id, endpoint_id, span)
    return await _begin(deps, RECOVER, replace(wanted, states=UNDELIVERED), dry_run)


async def replay_missing(
    deps: Deps, tenant_id: UUID, endpoint_id: UUID, span: DeliverySpan, *, dry_run: bool = False
) -> Operation | DryRun:
    """Send an endpoint the events of a span for which it has no delivery, with the same bytes.

    Raises NotFound, BulkFull, and Conflict if the endpoint is disabled.
    """
    await _require_enabled(deps, tenant_id, endpoint_id)
    return await _begin(deps, REPLAY_MISSING, _filter(tenant_id, endpoint_id, span), dry_run)


async def list_operations(
    deps: Deps, tenant_id: UUID, before: UUID | None, limit: int, *, kinds: Collection[str]
) -> list[Operation]:
    """Operations of these kinds, newest first: those older than `before`."""
    async with deps.db.of(tenant_id) as tx:
        return await bulk_operations.page(tx, tenant_id, before, limit, kinds=kinds)


async def find_operation(deps: Deps, tenant_id: UUID, operation_id: UUID) -> Operation:
    """An operation of a tenant; raises NotFound."""
    async with deps.db.of(tenant_id) as tx:
        return _known(await bulk_operations.find(tx, tenant_id, operation_id))


@retry_on_deadlock
async def stop(deps: Deps, tenant_id: UUID, operation_id: UUID) -> Operation:
    """Stop an operation; finished batches stay. Raises NotFound, and Conflict once it has ended."""
    async with deps.db.of(tenant_id) as tx:
        stopped = await bulk_operations.stop(tx, tenant_id, operation_id)
        _known(stopped or await bulk_operations.find(tx, tenant_id, operation_id))
    if stopped is None:
        raise Conflict("The operation has ended already.")
    return stopped


async def step(deps: Deps, acceptor: Acceptor, served: UUID = _NOBODY) -> UUID | None:
    """Do one batch for the next tenant after `served`; returns that tenant, or None if none is due.

    So each tenant has its turn, however many operations another one has. `acceptor` is the one of
    this process: retried jobs go through it.
    """
    token, started = deps.ids.uuid(), deps.clock.monotonic()
    async with deps.db.single() as tx:
        operation = await bulk_operations.claim(
            tx, lease=deps.policy.lease, token=token, served=served
        )
    if operation is None:
        return None
    deps.crash_point("bulk.claimed")
    if operation.kind in jobs.KINDS:
        progress = await jobs.act(deps, acceptor, operation)
        async with deps.db.single() as tx:
            state = await bulk_operations.advance(tx, operation.id, token, progress)
    else:
        progress, state = await _send_again(deps, operation, token)
    deps.crash_point("bulk.committed")
    if state == _RUNNING:
        deps.queue.wake(VERB, after=progress.wait)
    deps.observer.done(
        "bulk",
        "batch" if state == _RUNNING else state or "lost",
        seconds=deps.clock.monotonic() - started,
        kind=operation.kind,
        tenant_id=operation.tenant_id,
        rows=progress.done,
        done=operation.done + progress.done,
        total=operation.total,
    )
    return operation.tenant_id


@retry_on_deadlock
async def _send_again(deps: Deps, operation: Operation, token: UUID) -> tuple[Progress, str | None]:
    """Do a batch and return the state after it; nothing if it was stopped or the lease was lost."""
    async with deps.db.of(operation.tenant_id) as tx:
        state = await bulk_operations.hold(tx, operation.id, token)
        if state != _RUNNING:
            return Progress(0, None, 0.0, finished=True), state
        progress = await _batch(tx, deps, operation)
        state = await bulk_operations.advance(tx, operation.id, token, progress)
        deps.crash_point("bulk.recorded")
    deps.queue.wake("deliver")
    return progress, state


def _known(operation: Operation | None) -> Operation:
    if operation is None:
        raise NotFound("There is no such operation.")
    return operation


async def _begin(
    deps: Deps, kind: str, wanted: DeliveryFilter, dry_run: bool
) -> Operation | DryRun:
    async with deps.db.of(wanted.tenant_id) as tx:
        if not dry_run:
            await require_room(tx, deps, wanted.tenant_id)
        counted = await _count(tx, kind, wanted)
        if dry_run:
            return DryRun(counted.total, counted.states, counted.disabled)
        if counted.total and kind != REPLAY_MISSING:
            await replays.end_rests(tx, wanted)
        return await begin(
            tx,
            deps,
            kind,
            wanted.tenant_id,
            filter_=msgspec.json.encode(wanted).decode(),
            total=counted.total,
            until=counted.until,
            endpoint_id=wanted.endpoints[0] if len(wanted.endpoints) == 1 else None,
        )


async def _count(tx: Tx, kind: str, wanted: DeliveryFilter) -> Counted:
    if kind != REPLAY_MISSING:
        return await replays.count(tx, wanted)
    return await replays.count_missing(
        tx, wanted.tenant_id, wanted.endpoints[0], _since(wanted), wanted.created_before
    )


async def _batch(tx: Tx, deps: Deps, operation: Operation) -> Progress:
    """Make the next rows due."""
    if operation.kind == jobs.RESEND:
        return await jobs.webhooks_again(tx, deps, operation)
    wanted = msgspec.json.decode(operation.filter, type=DeliveryFilter)
    after, until = operation.cursor, operation.until
    if operation.kind != REPLAY_MISSING:
        sent = await replays.resend_next(tx, wanted, after=after, until=until, limit=_BATCH)
        return _progress(deps, sent.rows, sent.last, finished=sent.finished)
    endpoint_id = wanted.endpoints[0]
    events = await replays.next_missing(
        tx,
        wanted.tenant_id,
        endpoint_id,
        _since(wanted),
        wanted.created_before,
        after=after,
        until=until,
        limit=_BATCH,
    )
    if events:
        pairs = [(deps.ids.uuid(), event_id) for event_id in events]
        await replays.owe(tx, wanted.tenant_id, endpoint_id, pairs)
    last, finished = events[-1] if events else None, len(events) < _BATCH
    return _progress(deps, len(events), last, finished=finished)


def _progress(deps: Deps, rows: int, last: UUID | None, *, finished: bool) -> Progress:
    return Progress(rows, last, rows / deps.policy.bulk_rate, finished=finished)


def _filter(tenant_id: UUID, endpoint_id: UUID | None, span: DeliverySpan) -> DeliveryFilter:
    endpoints_ = () if endpoint_id is None else (endpoint_id,)
    return DeliveryFilter(
        tenant_id, endpoints_, created_after=span.since, created_before=span.until
    )


async def _require_enabled(deps: Deps, tenant_id: UUID, endpoint_id: UUID) -> None:
    async with deps.db.of(tenant_id) as tx:
        endpoint = await endpoints.find(tx, tenant_id, endpoint_id)
    if endpoint is None:
        raise missing()
    if endpoint.disabled_at is not None:
        raise Conflict("The endpoint is disabled. Enable it first.")


def _since(wanted: DeliveryFilter) -> datetime:
    return wanted.created_after or _EVER
