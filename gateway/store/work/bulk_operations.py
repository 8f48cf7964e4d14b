"""Bulk operations: work on many rows, done in batches that survive whoever does them."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx

_FIRST = UUID(int=0)

_COLUMNS = """id, tenant_id, kind, endpoint_id, filter, state, total, done, cursor, until, created_at,
  completed_at"""

# One after the other for a tenant, so that each sees those that others begin.
_TURN = "SELECT pg_advisory_xact_lock(hashtextextended('bulk:' || $1::uuid::text, 0))"

_ADD = f"""
INSERT INTO bulk (id, tenant_id, kind, endpoint_id, filter, total, until, state, completed_at)
SELECT $1, $2::uuid, $3, $4, $5, $6, $7, CASE WHEN $6::bigint = 0 THEN 'done' ELSE 'running' END,
  CASE WHEN $6::bigint = 0 THEN now() END
WHERE $6::bigint = 0
  OR (SELECT count(*) FROM bulk WHERE tenant_id = $2::uuid AND state = 'running') < $8::int
RETURNING {_COLUMNS}"""

_RUNNING = "SELECT count(*) FROM bulk WHERE tenant_id = $1 AND state = 'running'"

_FIND = f"SELECT {_COLUMNS} FROM bulk WHERE tenant_id = $1 AND id = $2"

_PAGE = f"""
SELECT {_COLUMNS} FROM bulk WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
  AND kind = ANY($4::text[])
ORDER BY id DESC LIMIT $3"""

_STOP = f"""
UPDATE bulk SET state = 'stopped', completed_at = now() WHERE tenant_id = $1 AND id = $2
  AND state = 'running' RETURNING {_COLUMNS}"""

# The first that is due of the next tenant. As an array it is chosen once; a join may choose again for
# every row, and so take more.
_CLAIM = f"""
UPDATE bulk SET next_at = now() + $1 * interval '1 second', lease_token = $2
WHERE id = ANY(ARRAY(SELECT id FROM bulk
  WHERE state = 'running' AND next_at <= now() AND tenant_id > $3
  ORDER BY tenant_id, next_at LIMIT 1 FOR UPDATE SKIP LOCKED))
RETURNING {_COLUMNS}"""

_ADVANCE = """
UPDATE bulk SET done = done + $3, cursor = COALESCE($4::uuid, cursor),
  next_at = now() + $5 * interval '1 second',
  state = CASE WHEN state = 'running' AND $6::bool THEN 'done' ELSE state END,
  completed_at = COALESCE(completed_at, CASE WHEN $6::bool THEN now() END)
WHERE id = $1 AND lease_token = $2 AND state <> 'done' RETURNING state"""

_HOLD = "SELECT state FROM bulk WHERE id = $1 AND lease_token = $2 FOR UPDATE"

_DUE = "SELECT EXISTS (SELECT 1 FROM bulk WHERE state = 'running' AND next_at <= now())"


class Operation(NamedTuple):
    """A bulk operation; `filter` is the JSON that it was asked for with."""

    id: UUID
    tenant_id: UUID
    kind: str
    endpoint_id: UUID | None
    filter: str
    state: str
    total: int
    done: int
    cursor: UUID | None
    until: UUID
    created_at: datetime
    completed_at: datetime | None


class Progress(NamedTuple):
    """What a batch came to: rows done, the last of them, and seconds until the next batch."""

    done: int
    cursor: UUID | None
    wait: float
    finished: bool


async def add(
    tx: Tx,
    operation_id: UUID,
    tenant_id: UUID,
    *,
    kind: str,
    endpoint_id: UUID | None,
    filter_: str,
    total: int,
    until: UUID | None,
    most: int,
) -> Operation | None:
    """Store an operation that is due at once; one without rows is done.

    None where `most` of the tenant's are under way already.
    """
    last = until or UUID(int=0)
    await tx.row(_TURN, tenant_id)
    row = await tx.row(_ADD, operation_id, tenant_id, kind, endpoint_id, filter_, total, last, most)
    return Operation(*row) if row else None


async def running(tx: Tx, tenant_id: UUID) -> int:
    """How many operations of a tenant are under way."""
    return (await tx.one(_RUNNING, tenant_id))[0]


async def find(tx: Tx, tenant_id: UUID, operation_id: UUID) -> Operation | None:
    """Find an operation."""
    row = await tx.row(_FIND, tenant_id, operation_id)
    return Operation(*row) if row else None


async def page(
    tx: Tx, tenant_id: UUID, before: UUID | None, limit: int, *, kinds: Collection[str]
) -> list[Operation]:
    """A tenant's operations of some kinds, newest first."""
    found = await tx.rows(_PAGE, tenant_id, before, limit, list(kinds))
    return [Operation(*row) for row in found]


async def stop(tx: Tx, tenant_id: UUID, operation_id: UUID) -> Operation | None:
    """Stop an operation that runs; None where there is none that does."""
    row = await tx.row(_STOP, tenant_id, operation_id)
    return Operation(*row) if row else None


async def claim(tx: Tx, *, lease: float, token: UUID, served: UUID = _FIRST) -> Operation | None:
    """Take the operation that waited longest, of the tenant that comes after the one just served."""
    row = await tx.row(_CLAIM, lease, token, served)
    if row is None and served != _FIRST:
        row = await tx.row(_CLAIM, lease, token, _FIRST)
    return Operation(*row) if row else None


async def hold(tx: Tx, operation_id: UUID, token: UUID) -> str | None:
    """Keep an operation as it is until the transaction ends; its state, None where another has it."""
    row = await tx.row(_HOLD, operation_id, token)
    return row.state if row else None


async def advance(tx: Tx, operation_id: UUID, token: UUID, progress: Progress) -> str | None:
    """Note a batch; the state after it, None where another has the operation.

    One that was stopped meanwhile stays so, and what the batch did is counted.
    """
    done, cursor, wait, finished = progress
    row = await tx.row(_ADVANCE, operation_id, token, done, cursor, wait, finished)
    return row.state if row else None


async def is_due(tx: Tx) -> bool:
    """Whether an operation waits for somebody."""
    return bool((await tx.one(_DUE))[0])
