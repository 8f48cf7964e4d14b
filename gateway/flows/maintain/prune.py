"""Pruning: delete rows that are older than their tenant keeps them, in small batches.

It runs for a second in each sweep, one tenant after the other, and to the end for `gateway db prune`.
Each batch and its cursor are one transaction, with a rest after it, so pruning never slows down
work. Rows that must stay (open jobs, deletions that wait) are passed over and looked at again. Where jobs are
partitioned by month, those that are kept longest wait for `gateway db partition maintain` to drop their month.
A crash leaves the cursor at the last batch, and the next round goes on from there.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from gateway.core.uuid7 import first_id
from gateway.flows.deps import Deps
from gateway.store.retention import prune
from gateway.store.retention.prune import Keeping
from gateway.store.retention.rules import RULES, PruneRule
from gateway.store.tenancy import sessions

EVERY_SECONDS = 3600.0
_TENANTS = 20
_REST_SECONDS = 0.02
# Sessions and links that have expired: the audit log keeps who was there.
_SESSIONS_KEPT = timedelta(days=1)


async def prune_some(deps: Deps, seconds: float) -> Mapping[str, int]:
    """Prune sessions, and the tenants that are due, for about so many seconds; returns dropped rows by kind."""
    end, dropped = deps.clock.monotonic() + seconds, Counter[str]()
    before = deps.clock.now() - _SESSIONS_KEPT
    async with deps.db.single() as tx:
        if ended := await sessions.prune(tx, before, deps.policy.prune_batch):
            dropped["sessions"] = ended
        due = await prune.tenants(tx, None, EVERY_SECONDS, _TENANTS)
    for keeping in due:
        if deps.clock.monotonic() > end or deps.slots.closing:
            break
        dropped.update(await _prune_tenant(deps, keeping, end))
    return dropped


async def prune_now(
    deps: Deps, slug: str | None = None, *, dry_run: bool = False
) -> dict[str, Counter[str]]:
    """Prune all tenants, or one, to the end; returns dropped rows by tenant and kind.

    A dry run drops nothing and returns how many rows it would look at.
    """
    async with deps.db.single() as tx:
        found = await prune.tenants(tx, slug, 0.0, 1_000_000)
    dropped: dict[str, Counter[str]] = {}
    for keeping in found:
        act = _count_tenant if dry_run else _prune_tenant
        dropped[keeping.slug] = await act(deps, keeping, float("inf"))
    return dropped


async def _prune_tenant(deps: Deps, keeping: Keeping, end: float) -> Counter[str]:
    dropped = Counter[str]()
    for name, rule in RULES.items():
        bound = await _bound(deps, keeping, rule)
        if bound is not None and (rows := await _walk(deps, keeping.tenant_id, name, bound, end)):
            dropped[rule.kind] += rows
    if deps.clock.monotonic() < end:
        async with deps.db.single() as tx:
            await prune.done(tx, keeping.tenant_id)
    return dropped


async def _walk(deps: Deps, tenant_id: UUID, rule: str, bound: UUID, end: float) -> int:
    """Drop the rows of a rule up to its bound; returns how many.

    The walk ends some batches behind the first row that must stay.
    """
    after: UUID | None = None
    dropped = ahead = 0
    batch = deps.policy.prune_batch
    while ahead < deps.policy.prune_ahead and deps.clock.monotonic() < end:
        async with deps.db.begin() as tx:
            kept = await prune.cursor(tx, tenant_id, rule)
            after = after or kept
            ids = await prune.next_rows(tx, tenant_id, rule, after=after, before=bound, limit=batch)
            if not ids:
                break
            ahead += after != kept
            pruned = await prune.prune(tx, tenant_id, rule, ids, moves=after == kept)
            after, dropped = pruned.last or after, dropped + pruned.rows
        deps.crash_point("prune.committed")
        if len(ids) < batch:
            break
        await deps.clock.sleep(_REST_SECONDS)
    return dropped


async def _count_tenant(deps: Deps, keeping: Keeping, _end: float) -> Counter[str]:
    counts = Counter[str]()
    for name, rule in RULES.items():
        bound = await _bound(deps, keeping, rule)
        if bound is None:
            continue
        async with deps.db.single() as tx:
            after = await prune.cursor(tx, keeping.tenant_id, name)
            counts[rule.kind] += await prune.count(
                tx, keeping.tenant_id, name, after=after, before=bound
            )
    return counts


async def _bound(deps: Deps, keeping: Keeping, rule: PruneRule) -> UUID | None:
    """The id before which the rows of a rule are pruned; None if they are kept for ever."""
    own: int | None = getattr(keeping, rule.kind)
    days = deps.policy.keep_days[rule.kind] if own is None else own
    if not days:
        return None
    if rule.table != "job":
        return first_id(deps.clock.now() - timedelta(days=days))
    async with deps.db.single() as tx:
        oldest = await prune.oldest_open(tx, keeping.tenant_id)
        if rule.kind == "jobs" and days == await prune.whole_months(
            tx, deps.policy.keep_days["jobs"]
        ):
            days += deps.policy.month_grace_days
    bound = first_id(deps.clock.now() - timedelta(days=days))
    return bound if oldest is None else min(bound, oldest)
