"""Bulk operations as people look at them: of one tenant or of all, running or ended."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from gateway.errors import NotFound
from gateway.flows.deps import Deps
from gateway.flows.read.export import reading
from gateway.store.work import bulk_operations
from gateway.store.work.bulk_operations import Operation


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """Which operations: of a tenant (None: of all), in a state, on an endpoint."""

    tenant_id: UUID | None
    state: str | None = None
    endpoint_id: UUID | None = None


async def operations(
    deps: Deps, wanted: OperationFilter, before: UUID | None, limit: int
) -> list[Operation]:
    """Operations of a filter, newest first: those older than `before`."""
    tenants = None if wanted.tenant_id is None else (wanted.tenant_id,)
    async with reading(deps, tenants) as tx:
        return await bulk_operations.page_of(
            tx,
            tenant_id=wanted.tenant_id,
            state=wanted.state,
            endpoint_id=wanted.endpoint_id,
            before=before,
            limit=limit,
        )


async def find_operation_owner(
    deps: Deps, operation_id: UUID, allowed: Collection[UUID] | None
) -> UUID:
    """The tenant that owns an operation, if it is one of those allowed (None: all); raises NotFound."""
    async with deps.db.single() as tx:
        tenant_id = await bulk_operations.owner(tx, operation_id)
    if tenant_id is None or (allowed is not None and tenant_id not in allowed):
        raise NotFound("There is no such operation.")
    return tenant_id
