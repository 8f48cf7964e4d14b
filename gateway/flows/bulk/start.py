"""The start of a bulk operation: count its rows first, then store it for the workers.

It runs in the request of a caller. A dry run only counts. A tenant may have a limited number of
operations under way (`Policy.bulk_running`). The operation and its filter are one row, so a crash
leaves either nothing or an operation that a worker takes up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from gateway.errors import BulkFull
from gateway.flows.deps import Deps
from gateway.ports import Verb
from gateway.store.database import Tx
from gateway.store.work import bulk_operations
from gateway.store.work.bulk_operations import Operation

VERB: Verb = "bulk"
_SOON_SECONDS = 0.1
_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class DryRun:
    """A dry run: how many rows an operation would act on, in all and by state.

    `disabled` is how many deliveries it would leave out because their endpoint is disabled.
    """

    count: int
    states: Mapping[str, int] = field(default_factory=dict[str, int])
    disabled: int = 0


async def require_room(tx: Tx, deps: Deps, tenant_id: UUID) -> None:
    """Refuse a tenant that has no room for another operation; raises BulkFull."""
    most = deps.policy.bulk_running
    if await bulk_operations.running(tx, tenant_id) >= most:
        raise _full(most)


async def begin(
    tx: Tx,
    deps: Deps,
    kind: str,
    tenant_id: UUID,
    *,
    filter_: str,
    total: int,
    until: UUID | None,
    endpoint_id: UUID | None = None,
    once: UUID | None = None,
) -> Operation:
    """Store an operation on `total` rows, up to the id `until`; raises BulkFull.

    With `once` as its id it begins once, however often it is asked for.
    """
    operation_id = once or deps.ids.uuid()
    operation = await bulk_operations.add(
        tx,
        operation_id,
        tenant_id,
        kind=kind,
        endpoint_id=endpoint_id,
        filter_=filter_,
        total=total,
        until=until,
        most=deps.policy.bulk_running,
    )
    if operation is None and once is not None:
        operation = await bulk_operations.find(tx, tenant_id, once)
    if operation is None:
        raise _full(deps.policy.bulk_running)
    deps.queue.wake(VERB, after=_SOON_SECONDS)  # by then this is committed
    return operation


def _full(most: int) -> BulkFull:
    return BulkFull(
        f"{most} bulk operations of the tenant are under way already. Wait for one to end, or stop one.",
        quota=most,
        room=0,
        retry_after=_RETRY_SECONDS,
    )
