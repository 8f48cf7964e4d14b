"""Pruning: delete rows that are older than their retention, a few hundred at a time.

A rule reads the rows of one table from old to new, and a cursor keeps its position. Rows that cannot be
pruned yet are skipped, but the cursor stays before the first of them. Rows and cursor change in one
transaction, so a crash leaves nothing half done.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from gateway.store.conditions import OPEN_STATES
from gateway.store.database import Tx
from gateway.store.retention.rules import RULES
from gateway.store.statement import Query, Statement
from gateway.store.usage import drift

KINDS = tuple(dict.fromkeys(rule.kind for rule in RULES.values()))

_EPOCH = datetime.fromtimestamp(0, UTC)
_ALL = 2**40


class Keeping(NamedTuple):
    """The retention of a tenant in days; None means the gateway's default."""

    tenant_id: UUID
    slug: str
    payloads: int | None
    jobs: int | None
    attempts: int | None
    events: int | None


class Pruned(NamedTuple):
    """How many rows were pruned, and the position of the last row that was found."""

    rows: int
    last: UUID | None


_OLDEST_OPEN = Statement(
    f"""
SELECT id FROM job WHERE tenant_id = :tenant_id AND state IN {OPEN_STATES} ORDER BY id LIMIT 1"""
)

_TENANTS = Query(
    """
SELECT id AS tenant_id, slug, keep_payloads AS payloads, keep_jobs AS jobs,
  keep_attempts AS attempts, keep_events AS events FROM tenant
WHERE :slug::text IS NOT NULL AND slug = :slug
  OR :slug IS NULL AND (pruned_at IS NULL OR pruned_at < now() - :every * interval '1 second')
ORDER BY pruned_at NULLS FIRST, id LIMIT :limit""",
    Keeping,
)

_NEXT = Statement(
    """
SELECT EXTRACT(epoch FROM min(COALESCE(pruned_at, now() - :every * interval '1 second')) - now())::float8
  + :every::float8 AS seconds FROM tenant"""
)

_CURSOR = Statement("SELECT cursor FROM prune_cursor WHERE tenant_id = :tenant_id AND kind = :rule")

_KEEP_CURSOR = Statement(
    """
INSERT INTO prune_cursor (tenant_id, kind, cursor) VALUES (:tenant_id, :rule, :cursor)
ON CONFLICT (tenant_id, kind) DO UPDATE SET cursor = excluded.cursor"""
)

# The retention of those tenants whose jobs go with their month: that of the tenants that keep them longest.
_WHOLE_MONTHS = Statement(
    """
SELECT max(COALESCE(t.keep_jobs, :keep_days::int)) AS days FROM tenant t
WHERE (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'job'::regclass)
HAVING bool_and(COALESCE(t.keep_jobs, :keep_days::int) > 0)"""
)

_DONE = Statement("UPDATE tenant SET pruned_at = now() WHERE id = :tenant_id")

# By rule.
_NEXT_ROWS = {name: Statement(rule.next_rows()) for name, rule in RULES.items()}
_COUNT = {
    name: Statement(f"SELECT count(*) AS count FROM ({rule.next_rows()}) AS found")
    for name, rule in RULES.items()
}
_EXAMINED = {name: Statement(rule.examined_rows()) for name, rule in RULES.items()}
_DO = {name: tuple(map(Statement, rule.do)) for name, rule in RULES.items()}


async def next_round(tx: Tx, every: float) -> float | None:
    """In how many seconds the next tenant is due, negative if it is late; None without tenants."""
    return (await _NEXT.one(tx, every=every)).seconds


async def tenants(tx: Tx, slug: str | None, every: float, limit: int) -> list[Keeping]:
    """The tenants that were last pruned more than `every` seconds ago, or the one of a slug."""
    return await _TENANTS.rows(tx, slug=slug, every=every, limit=limit)


async def oldest_open(tx: Tx, tenant_id: UUID) -> UUID | None:
    """The oldest job of a tenant that has not ended: nothing from its time on is pruned."""
    row = await _OLDEST_OPEN.row(tx, tenant_id=tenant_id)
    return row.id if row else None


async def whole_months(tx: Tx, keep_days: int) -> int | None:
    """The retention in days after which jobs go with their month and not by row.

    None where jobs are not partitioned by month, or a tenant keeps them for ever, so that no month goes.
    """
    row = await _WHOLE_MONTHS.row(tx, keep_days=keep_days)
    return row.days if row else None


async def cursor(tx: Tx, tenant_id: UUID, rule: str) -> UUID:
    """The cursor of a rule: a position, which is an id, or a time in the form of an id."""
    row = await _CURSOR.row(tx, tenant_id=tenant_id, rule=rule)
    return row.cursor if row else UUID(int=0)


async def next_rows(
    tx: Tx, tenant_id: UUID, rule: str, *, after: UUID, before: UUID, limit: int
) -> Sequence[UUID]:
    """The next rows of a rule between two positions, including those that cannot be pruned yet."""
    bounds = _bounds(rule, after, before)
    rows = await _NEXT_ROWS[rule].rows(tx, tenant_id=tenant_id, limit=limit, **bounds)
    return [row.id for row in rows]


async def count(tx: Tx, tenant_id: UUID, rule: str, *, after: UUID, before: UUID) -> int:
    """How many rows a rule has between two positions."""
    bounds = _bounds(rule, after, before)
    return (await _COUNT[rule].one(tx, tenant_id=tenant_id, limit=_ALL, **bounds)).count


async def prune(
    tx: Tx, tenant_id: UUID, rule: str, ids: Sequence[UUID], *, moves: bool = True
) -> Pruned:
    """Prune those of these rows that can be pruned, and lock them all.

    With `moves` the cursor moves behind them, up to the first row that cannot be pruned yet.
    """
    found = await _EXAMINED[rule].rows(tx, ids=list(ids))
    positions = [row.id if row.at is None else _position(row.at) for row in found]
    waiting = [position for row, position in zip(found, positions, strict=True) if row.waits]
    going = [row.id for row in found if not row.waits]
    await drift.note_pruning(tx, RULES[rule].kind, going)
    counts = [await statement.run(tx, ids=going) for statement in _DO[rule]]
    done = [one for one in positions if not waiting or one < waiting[0]]
    if moves and done:
        await _KEEP_CURSOR.run(tx, tenant_id=tenant_id, rule=rule, cursor=done[-1])
    return Pruned(counts[0], positions[-1] if positions else None)


async def done(tx: Tx, tenant_id: UUID) -> None:
    """Record that a tenant was pruned."""
    await _DONE.run(tx, tenant_id=tenant_id)


def _bounds(rule: str, after: UUID, before: UUID) -> dict[str, UUID | datetime]:
    if RULES[rule].time:
        return {"after": _at(after), "before": _at(before)}
    return {"after": after, "before": before}


def _position(at: datetime) -> UUID:
    """A time in the form of an id, but to the microsecond."""
    milliseconds, microseconds = divmod((at - _EPOCH) // timedelta(microseconds=1), 1000)
    return UUID(int=milliseconds << 80 | microseconds << 64)


def _at(position: UUID) -> datetime:
    milliseconds, rest = position.int >> 80, position.int >> 64 & 0xFFFF
    return _EPOCH + timedelta(milliseconds=milliseconds, microseconds=min(rest, 999))
