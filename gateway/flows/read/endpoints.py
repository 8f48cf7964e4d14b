"""Reads of endpoints for people: lists of one tenant or of all, and how one endpoint is doing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import UUID

from gateway.errors import NotFound
from gateway.flows.deps import Deps
from gateway.flows.read.export import reading
from gateway.store.webhooks import endpoint_reads
from gateway.store.webhooks.endpoint_reads import (
    MOST_COUNTED,
    AttemptMark,
    EndpointBacklog,
    EndpointRow,
)

__all__ = ["MOST_COUNTED", "AttemptMark", "EndpointBacklog", "EndpointRow"]

EndpointHealth = Literal["failing", "disabled", "well"]
_STRIP = 100


@dataclass(frozen=True, slots=True)
class EndpointFilter:
    """Which endpoints: of a tenant (None: of all), by their health, and by a part of the URL."""

    tenant_id: UUID | None
    health: EndpointHealth | None = None
    text: str = ""


class EndpointRecord(NamedTuple):
    """What an endpoint has not received, and its last attempts, newest first."""

    backlog: EndpointBacklog
    attempts: Sequence[AttemptMark]

    @property
    def success_share(self) -> float | None:
        """The share of the last attempts that succeeded; None without attempts."""
        if not self.attempts:
            return None
        return sum(one.error_class is None for one in self.attempts) / len(self.attempts)

    @property
    def p95_ms(self) -> int | None:
        """How long the slowest of twenty attempts take at least; None without attempts."""
        if not self.attempts:
            return None
        durations = sorted(one.duration_ms for one in self.attempts)
        return durations[min(int(len(durations) * 0.95), len(durations) - 1)]


async def endpoint_rows(
    deps: Deps, wanted: EndpointFilter, before: UUID | None, limit: int
) -> list[EndpointRow]:
    """Endpoints of a filter, newest first: those older than `before`."""
    tenants = None if wanted.tenant_id is None else (wanted.tenant_id,)
    async with reading(deps, tenants) as tx:
        return await endpoint_reads.page(
            tx,
            tenant_id=wanted.tenant_id,
            health=wanted.health or "",
            text=wanted.text,
            before=before,
            limit=limit,
        )


async def endpoint_record(deps: Deps, tenant_id: UUID, endpoint_id: UUID) -> EndpointRecord:
    """How an endpoint is doing; raises NotFound."""
    async with deps.db.of(tenant_id) as tx:
        backlog = await endpoint_reads.backlog(tx, tenant_id, endpoint_id)
        attempts = await endpoint_reads.last_attempts(tx, tenant_id, endpoint_id, limit=_STRIP)
    if backlog is None:
        raise NotFound("There is no such endpoint.")
    return EndpointRecord(backlog, attempts)
