"""Prune: drop what is older than its tenant keeps it, in small batches and at leisure."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from gateway.core.uuid7 import first_id
from gateway.flows.deps import Deps
from gateway.store.retention import prune
from gateway.store.retention.prune import Keeping
from gateway.store.retention.rules import WAYS, PruneRule

EVERY_SECONDS = 3600.0
_TENANTS = 20
_REST_SECONDS = 0.02


async def prune_some(deps: Deps, seconds: float) -> Mapping[str, int]:
    """Prune the tenants whose turn it is for about so many seconds; rows dropped, by kind."""
    end, dropped = deps.clock.monotonic() + seconds, Counter[str]()
    async with deps.db.single() as tx:
        due = await prune.tenants(tx, None, EVERY_SECONDS, _TENANTS)
    for keeping in due:
        if deps.clock.monotonic() > end or deps.slots.closing:
            break
        dropped.update(await _prune_tenant(deps, keeping, end))
    return dropped


async def prune_now(
    deps: Deps, slug: str | None = None, *, dry_run: bool = False
) -> dict[str, Counter[str]]:
    """Prune all tenants, or one, to the end; rows dropped or, in a dry run, looked at, by kind."""
    async with deps.db.single() as tx:
        found = await prune.tenants(tx, slug, 0.0, 1_000_000)
    dropped: dict[str, Counter[str]] = {}
    for keeping in found:
        act = _count_tenant if dry_run else _prune_tenant
        dropped[keeping.slug] = await act(deps, keeping, float("inf"))
    return dropped


async def _prune_tenant(deps: Deps, keeping: Keeping, end: float) -> Counter[str]:
    dropped = Counter[str]()
    for name, way in WAYS.items():
        bound = await _bound(deps, keeping, way)
        if bound is not None and (rows := await _walk(deps, keeping.tenant_id, name, bound, end)):
            dropped[way.kind] += rows
    if deps.clock.monotonic() < end:
        async with deps.db.single() as tx:
            await prune.done(tx, keeping.tenant_id)
    return dropped


async def _walk(deps: Deps, tenant_id: UUID, way: str, bound: UUID, end: float) -> int:
    """Go a way up to its bound, not far beyond what cannot go yet; how many rows that dropped."""
    after: UUID | None = None
    dropped = ahead = 0
    batch = deps.policy.prune_batch
    while ahead < deps.policy.prune_ahead and deps.clock.monotonic() < end:
        async with deps.db.begin() as tx:
            kept = await prune.cursor(tx, tenant_id, way)
            after = after or kept
            ids = await prune.next_rows(tx, tenant_id, way, after=after, before=bound, limit=batch)
            if not ids:
                break
            ahead += after != kept
            pruned = await prune.prune(tx, tenant_id, way, ids, moves=after == kept)
            after, dropped = pruned.last or after, dropped + pruned.rows
        deps.crash_point("prune.committed")
        if len(ids) < batch:
            break
        await deps.clock.sleep(_REST_SECONDS)
    return dropped


async def _count_tenant(deps: Deps, keeping: Keeping, _end: float) -> Counter[str]:
    counts = Counter[str]()
    for name, way in WAYS.items():
        bound = await _bound(deps, keeping, way)
        if bound is None:
            continue
        async with deps.db.single() as tx:
            after = await prune.cursor(tx, keeping.tenant_id, name)
            counts[way.kind] += await prune.count(
                tx, keeping.tenant_id, name, after=after, before=bound
            )
    return counts


async def _bound(deps: Deps, keeping: Keeping, way: PruneRule) -> UUID | None:
    """The id before which rows of a way are pruned; None where they are kept for good."""
    own: int | None = getattr(keeping, way.kind)
    days = deps.policy.keep_days[way.kind] if own is None else own
    if not days:
        return None
    bound = first_id(deps.clock.now() - timedelta(days=days))
    if way.table != "job":
        return bound
    async with deps.db.single() as tx:
        oldest = await prune.oldest_open(tx, keeping.tenant_id)
    return bound if oldest is None else min(bound, oldest)
