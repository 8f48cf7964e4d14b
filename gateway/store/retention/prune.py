"""Pruning: what is older than it is to be kept goes, a few hundred rows at a time.

Each way leads over rows of one table from old to new, and a cursor tells how far it has come. What
cannot go yet is passed by, but not by the cursor: it stays in front of the first such row.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.retention.rules import WAYS
from gateway.store.usage import drift

# The oldest job that is still open: nothing from its time on is pruned.
_OLDEST_OPEN = """
SELECT id FROM job WHERE tenant_id = $1
  AND state IN ('accepted', 'submitting', 'submitted', 'running') ORDER BY id LIMIT 1"""

_TENANTS = """
SELECT id, slug, keep_payloads, keep_jobs, keep_attempts, keep_events FROM tenant
WHERE $1::text IS NOT NULL AND slug = $1
  OR $1 IS NULL AND (pruned_at IS NULL OR pruned_at < now() - $2 * interval '1 second')
ORDER BY pruned_at NULLS FIRST, id LIMIT $3"""

_CURSOR = "SELECT cursor FROM prune_cursor WHERE tenant_id = $1 AND kind = $2"

_KEEP_CURSOR = """
INSERT INTO prune_cursor (tenant_id, kind, cursor) VALUES ($1, $2, $3)
ON CONFLICT (tenant_id, kind) DO UPDATE SET cursor = excluded.cursor"""

KINDS = tuple(dict.fromkeys(way.kind for way in WAYS.values()))

_EPOCH = datetime.fromtimestamp(0, UTC)
_ALL = 2**40


class Keeping(NamedTuple):
    """A tenant, and for how many days its things are kept; None means the gateway's default."""

    tenant_id: UUID
    slug: str
    payloads: int | None
    jobs: int | None
    attempts: int | None
    events: int | None


class Pruned(NamedTuple):
    """How many rows were changed, and the position of the last that was still there."""

    rows: int
    last: UUID | None


async def tenants(tx: Tx, slug: str | None, every: float, limit: int) -> list[Keeping]:
    """The tenants whose last pruning is that many seconds ago, or one by its slug."""
    return [Keeping(*row) for row in await tx.rows(_TENANTS, slug, every, limit)]


async def oldest_open(tx: Tx, tenant_id: UUID) -> UUID | None:
    """The oldest job of a tenant that has not ended."""
    row = await tx.row(_OLDEST_OPEN, tenant_id)
    return row.id if row else None


async def cursor(tx: Tx, tenant_id: UUID, way: str) -> UUID:
    """How far pruning has come on a way: a position, which is an id or tells a time as ids do."""
    row = await tx.row(_CURSOR, tenant_id, way)
    return row.cursor if row else UUID(int=0)


async def next_rows(
    tx: Tx, tenant_id: UUID, way: str, *, after: UUID, before: UUID, limit: int
) -> Sequence[UUID]:
    """The next rows on a way between two positions, also those that cannot go yet."""
    bounds = _bounds(way, after, before)
    rows = await tx.rows(WAYS[way].next_rows(), tenant_id, *bounds, limit)
    return [row.id for row in rows]


async def count(tx: Tx, tenant_id: UUID, way: str, *, after: UUID, before: UUID) -> int:
    """How many rows there are on a way between two positions."""
    sql = f"SELECT count(*) FROM ({WAYS[way].next_rows()}) AS found"
    return (await tx.one(sql, tenant_id, *_bounds(way, after, before), _ALL))[0]


async def prune(
    tx: Tx, tenant_id: UUID, way: str, ids: Sequence[UUID], *, moves: bool = True
) -> Pruned:
    """Prune the rows that can go. With `moves` the cursor goes on, up to the first that cannot."""
    found = await tx.rows(WAYS[way].looked_at(), list(ids))
    positions = [row.id if row.at is None else _position(row.at) for row in found]
    waiting = [position for row, position in zip(found, positions, strict=True) if row.waits]
    going = [row.id for row in found if not row.waits]
    await drift.note_pruning(tx, WAYS[way].kind, going)
    counts = [await tx.run(statement, going) for statement in WAYS[way].do]
    done = [one for one in positions if not waiting or one < waiting[0]]
    if moves and done:
        await tx.run(_KEEP_CURSOR, tenant_id, way, done[-1])
    return Pruned(counts[0], positions[-1] if positions else None)


async def done(tx: Tx, tenant_id: UUID) -> None:
    """Note that a tenant was pruned."""
    await tx.run("UPDATE tenant SET pruned_at = now() WHERE id = $1", tenant_id)


def _bounds(way: str, *positions: UUID) -> list[UUID] | list[datetime]:
    return [_at(one) for one in positions] if WAYS[way].time else list(positions)


def _position(at: datetime) -> UUID:
    """An instant as ids tell it, but to the microsecond."""
    milliseconds, microseconds = divmod((at - _EPOCH) // timedelta(microseconds=1), 1000)
    return UUID(int=milliseconds << 80 | microseconds << 64)


def _at(position: UUID) -> datetime:
    milliseconds, rest = position.int >> 80, position.int >> 64 & 0xFFFF
    return _EPOCH + timedelta(milliseconds=milliseconds, microseconds=min(rest, 999))
