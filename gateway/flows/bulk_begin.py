"""How every bulk operation begins: counted first, then stored for the workers."""

from dataclasses import dataclass
from uuid import UUID

from gateway.flows.deps import Deps
from gateway.ports import Verb
from gateway.store import bulk
from gateway.store.bulk import Operation
from gateway.store.engine import Tx

VERB: Verb = "bulk"
_SOON_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class DryRun:
    """How many rows an operation would deal with."""

    count: int


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
    dry_run: bool,
) -> Operation | DryRun:
    """Store an operation on so many rows, the last of them `until`, or only tell the count."""
    if dry_run:
        return DryRun(total)
    operation = await bulk.add(
        tx,
        deps.ids.uuid(),
        tenant_id,
        kind=kind,
        endpoint_id=endpoint_id,
        filter_=filter_,
        total=total,
        until=until,
    )
    deps.queue.wake(VERB, after=_SOON_SECONDS)  # once this is committed
    return operation
