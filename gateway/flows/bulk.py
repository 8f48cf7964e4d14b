"""Bulk: many deliveries sent again, in batches, each with its progress in one transaction."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from gateway.errors import BadRequest, Conflict, NotFound
from gateway.flows import bulk_jobs
from gateway.flows.bulk_begin import VERB, DryRun, begin
from gateway.flows.deps import Deps
from gateway.flows.endpoints import missing
from gateway.store import bulk, endpoints, replays
from gateway.store.bulk import Operation, Progress
from gateway.store.delivery_filter import DeliveryFilter
from gateway.store.engine import Tx

RESEND, RECOVER, REPLAY_MISSING = "resend", "recover", "replay-missing"
KINDS = frozenset({RESEND, RECOVER, REPLAY_MISSING})
_FAILED = ("exhausted", "parked")
_BATCH = 200
_RUNNING = "running"
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_ENDED = ("delivered", "exhausted", "parked")


async def resend(
    deps: Deps, wanted: DeliveryFilter, *, dry_run: bool = False
) -> Operation | DryRun:
    """Send again what a filter shows, but for what is still on its way. Raises BadRequest."""
    on_its_way = set(wanted.states) - set(_ENDED)
    if on_its_way:
        raise BadRequest.of("status", "only deliveries that have ended can be sent again")
    return await _begin(deps, RESEND, replace(wanted, states=wanted.states or _ENDED), dry_run)


async def recover(
    deps: Deps, tenant_id: UUID, endpoint_id: UUID, since: datetime, *, dry_run: bool = False
) -> Operation | DryRun:
    """Send an endpoint again what failed or was parked since then. Raises NotFound, Conflict."""
    await _require_enabled(deps, tenant_id, endpoint_id)
    wanted = DeliveryFilter(tenant_id, (endpoint_id,), _FAILED, created_after=since)
    return await _begin(deps, RECOVER, wanted, dry_run)


async def replay_missing(
    deps: Deps, tenant_id: UUID, endpoint_id: UUID, since: datetime, *, dry_run: bool = False
) -> Operation | DryRun:
    """Send an endpoint the events since then that it was never owed, as they were frozen.

    Raises NotFound, and Conflict when it is disabled.
    """
    await _require_enabled(deps, tenant_id, endpoint_id)
    wanted = DeliveryFilter(tenant_id, (endpoint_id,), created_after=since)
    return await _begin(deps, REPLAY_MISSING, wanted, dry_run)


async def stop(deps: Deps, tenant_id: UUID, operation_id: UUID) -> Operation:
    """Stop an operation; what it did stays done. Raises NotFound, and Conflict once it has ended."""
    async with deps.db.of(tenant_id) as tx:
        stopped = await bulk.stop(tx, tenant_id, operation_id)
        found = stopped or await bulk.find(tx, tenant_id, operation_id)
    if found is None:
        raise NotFound("There is no such operation.")
    if stopped is None:
        raise Conflict("The operation has ended already.")
    return stopped


async def step(deps: Deps) -> bool:
    """Do one batch of the operation that waited longest; False when none is due."""
    token, started = deps.ids.uuid(), deps.clock.monotonic()
    async with deps.db.single() as tx:
        operation = await bulk.claim(tx, lease=deps.policy.lease, token=token)
    if operation is None:
        return False
    deps.reached("bulk.claimed")
    if operation.kind in bulk_jobs.KINDS:
        progress = await bulk_jobs.act(deps, operation)
        async with deps.db.single() as tx:
            state = await bulk.advance(tx, operation.id, token, progress)
    else:
        progress, state = await _send_again(deps, operation, token)
    deps.reached("bulk.committed")
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
    return True


async def _send_again(deps: Deps, operation: Operation, token: UUID) -> tuple[Progress, str | None]:
    """Do a batch, unless the operation was stopped or is another's; and its state after that."""
    async with deps.db.of(operation.tenant_id) as tx:
        state = await bulk.hold(tx, operation.id, token)
        if state != _RUNNING:
            return Progress(0, None, 0.0, finished=True), state
        cursor, count = await _batch(tx, deps, operation)
        finished = count < _BATCH
        progress = Progress(count, cursor, _BATCH / deps.policy.bulk_rate, finished=finished)
        state = await bulk.advance(tx, operation.id, token, progress)
        deps.reached("bulk.recorded")
    deps.queue.wake("deliver")
    return progress, state


async def _begin(
    deps: Deps, kind: str, wanted: DeliveryFilter, dry_run: bool
) -> Operation | DryRun:
    async with deps.db.of(wanted.tenant_id) as tx:
        if kind == REPLAY_MISSING:
            endpoint_id, since = wanted.endpoints[0], _since(wanted)
            total, until = await replays.count_missing(tx, wanted.tenant_id, endpoint_id, since)
        else:
            total, until = await replays.count(tx, wanted)
        return await begin(
            tx,
            deps,
            kind,
            wanted.tenant_id,
            filter_=msgspec.json.encode(wanted).decode(),
            total=total,
            until=until,
            endpoint_id=wanted.endpoints[0] if len(wanted.endpoints) == 1 else None,
            dry_run=dry_run,
        )


async def _batch(tx: Tx, deps: Deps, operation: Operation) -> tuple[UUID | None, int]:
    """Do the next rows; the last of them and how many they were."""
    wanted = msgspec.json.decode(operation.filter, type=DeliveryFilter)
    after, until = operation.cursor, operation.until
    if operation.kind != REPLAY_MISSING:
        rows = await replays.resend_next(tx, wanted, after=after, until=until, limit=_BATCH)
        return (rows[-1] if rows else None), len(rows)
    endpoint_id = wanted.endpoints[0]
    events = await replays.next_missing(
        tx,
        wanted.tenant_id,
        endpoint_id,
        _since(wanted),
        after=after,
        until=until,
        limit=_BATCH,
    )
    if events:
        pairs = [(deps.ids.uuid(), event_id) for event_id in events]
        await replays.owe(tx, wanted.tenant_id, endpoint_id, pairs)
    return (events[-1] if events else None), len(events)


async def _require_enabled(deps: Deps, tenant_id: UUID, endpoint_id: UUID) -> None:
    async with deps.db.of(tenant_id) as tx:
        endpoint = await endpoints.find(tx, tenant_id, endpoint_id)
    if endpoint is None:
        raise missing()
    if endpoint.disabled_at is not None:
        raise Conflict("The endpoint is disabled. Enable it first.")


def _since(wanted: DeliveryFilter) -> datetime:
    return wanted.created_after or _EVER
