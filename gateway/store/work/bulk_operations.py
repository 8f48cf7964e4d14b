"""Bulk operations: work on many rows, done in batches that survive a crash.

A claim leases one operation and gives it a fencing token (`lease_token`); `hold` and `advance` repeat the
token. A batch and its progress are written in one transaction, so after a crash the operation continues
behind the last complete batch once its lease has lapsed.
"""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Query, Statement

_FIRST = UUID(int=0)
# Running operations of all tenants are counted up to this number.
MOST_RUNNING = 1_000

_COLUMNS = """id, tenant_id, kind, endpoint_id, filter, state, total, done, cursor, until, created_at,
  completed_at"""


class Operation(NamedTuple):
    """A bulk operation; `filter` is the JSON of the request."""

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
    """The result of one batch: rows done, the last of them, and seconds until the next batch."""

    done: int
    cursor: UUID | None
    wait: float
    finished: bool


# An advisory lock per tenant: the operations of a tenant are added one after the other, so that each count
# sees the ones before.
_LOCK_TENANT = Statement(
    "SELECT pg_advisory_xact_lock(hashtextextended('bulk:' || :tenant_id::uuid::text, 0))"
)

_ADD = Query(
    f"""
INSERT INTO bulk (id, tenant_id, kind, endpoint_id, filter, total, until, state, completed_at)
SELECT :id, :tenant_id::uuid, :kind, :endpoint_id, :filter, :total, :until,
  CASE WHEN :total::bigint = 0 THEN 'done' ELSE 'running' END,
  CASE WHEN :total::bigint = 0 THEN now() END
WHERE :total::bigint = 0 OR (SELECT count(*) FROM bulk
  WHERE tenant_id = :tenant_id::uuid AND state = 'running') < :most::int
ON CONFLICT (id) DO NOTHING RETURNING {_COLUMNS}""",
    Operation,
)

_RUNNING = Statement(
    "SELECT count(*) AS count FROM bulk WHERE tenant_id = :tenant_id AND state = 'running'"
)

_FIND = Query(
    f"SELECT {_COLUMNS} FROM bulk WHERE tenant_id = :tenant_id AND id = :operation_id", Operation
)

_PAGE = Query(
    f"""
SELECT {_COLUMNS} FROM bulk
WHERE tenant_id = :tenant_id AND (:before::uuid IS NULL OR id < :before) AND kind = ANY(:kinds::text[])
ORDER BY id DESC LIMIT :limit""",
    Operation,
)

_WHICH = """(:tenant_id::uuid IS NULL OR tenant_id = :tenant_id::uuid)
  AND (:endpoint_id::uuid IS NULL OR endpoint_id = :endpoint_id::uuid)
  AND (:before::uuid IS NULL OR id < :before::uuid)"""

_PAGE_OF = Query(
    f"""
SELECT {_COLUMNS} FROM bulk WHERE {_WHICH} AND (:state::text IS NULL OR state = :state::text)
ORDER BY id DESC LIMIT :limit""",
    Operation,
)

# Few are running, and there is an index of these alone.
_PAGE_OF_RUNNING = Query(
    f"""
SELECT {_COLUMNS} FROM (SELECT * FROM bulk WHERE state = 'running' OFFSET 0) AS b WHERE {_WHICH}
ORDER BY id DESC LIMIT :limit""",
    Operation,
)

_RUNNING_OF_ALL = Statement(
    f"""
SELECT count(*) AS count
FROM (SELECT 1 FROM bulk WHERE state = 'running' LIMIT {MOST_RUNNING}) AS b"""
)

_OWNER = Statement("SELECT tenant_id FROM bulk WHERE id = :operation_id")

_STOP = Query(
    f"""
UPDATE bulk SET state = 'stopped', completed_at = now()
WHERE tenant_id = :tenant_id AND id = :operation_id AND state = 'running' RETURNING {_COLUMNS}""",
    Operation,
)

# The subquery in ARRAY runs once. A join may run it again for every row, and so take more than one.
_CLAIM = Query(
    f"""
UPDATE bulk SET next_at = now() + :lease * interval '1 second', lease_token = :token
WHERE id = ANY(ARRAY(SELECT id FROM bulk
  WHERE state = 'running' AND next_at <= now() AND tenant_id > :served
  ORDER BY tenant_id, next_at LIMIT 1 FOR UPDATE SKIP LOCKED))
RETURNING {_COLUMNS}""",
    Operation,
)

_ADVANCE = Statement(
    """
UPDATE bulk SET done = done + :done, cursor = COALESCE(:cursor::uuid, cursor),
  next_at = now() + :wait * interval '1 second',
  state = CASE WHEN state = 'running' AND :finished::bool THEN 'done' ELSE state END,
  completed_at = COALESCE(completed_at, CASE WHEN :finished::bool THEN now() END)
WHERE id = :operation_id AND lease_token = :token AND state <> 'done' RETURNING state"""
)

_HOLD = Statement(
    "SELECT state FROM bulk WHERE id = :operation_id AND lease_token = :token FOR UPDATE"
)

_DUE = Statement(
    "SELECT EXISTS (SELECT 1 FROM bulk WHERE state = 'running' AND next_at <= now()) AS found"
)


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
    """Store an operation that is due at once; an operation without rows is done at once.

    None where the tenant has `most` running operations, or the id is taken. Holds the tenant's advisory lock until the end
    of the transaction.
    """
    await _LOCK_TENANT.row(tx, tenant_id=tenant_id)
    return await _ADD.row(
        tx,
        id=operation_id,
        tenant_id=tenant_id,
        kind=kind,
        endpoint_id=endpoint_id,
        filter=filter_,
        total=total,
        until=until or _FIRST,
        most=most,
    )


async def running(tx: Tx, tenant_id: UUID) -> int:
    """How many operations of a tenant are running."""
    return (await _RUNNING.one(tx, tenant_id=tenant_id)).count


async def find(tx: Tx, tenant_id: UUID, operation_id: UUID) -> Operation | None:
    """Find an operation."""
    return await _FIND.row(tx, tenant_id=tenant_id, operation_id=operation_id)


async def page(
    tx: Tx, tenant_id: UUID, before: UUID | None, limit: int, *, kinds: Collection[str]
) -> list[Operation]:
    """A tenant's operations of some kinds, newest first, by keyset paging."""
    return await _PAGE.rows(tx, tenant_id=tenant_id, before=before, limit=limit, kinds=list(kinds))


async def page_of(
    tx: Tx,
    *,
    tenant_id: UUID | None,
    state: str | None,
    endpoint_id: UUID | None,
    before: UUID | None,
    limit: int,
) -> list[Operation]:
    """Operations older than `before`, newest first; None stands for any tenant, state or endpoint."""
    which = {"tenant_id": tenant_id, "endpoint_id": endpoint_id, "before": before, "limit": limit}
    if state == "running":
        return await _PAGE_OF_RUNNING.rows(tx, **which)
    return await _PAGE_OF.rows(tx, state=state, **which)


async def running_of_all(tx: Tx) -> int:
    """How many operations of all tenants are running; counted up to MOST_RUNNING."""
    return (await _RUNNING_OF_ALL.one(tx)).count


async def owner(tx: Tx, operation_id: UUID) -> UUID | None:
    """The tenant of an operation."""
    row = await _OWNER.row(tx, operation_id=operation_id)
    return row.tenant_id if row else None


async def stop(tx: Tx, tenant_id: UUID, operation_id: UUID) -> Operation | None:
    """Stop a running operation; None where there is no such running operation."""
    return await _STOP.row(tx, tenant_id=tenant_id, operation_id=operation_id)


async def claim(tx: Tx, *, lease: float, token: UUID, served: UUID = _FIRST) -> Operation | None:
    """Claim the operation that is due for longest, of the tenant that comes after the one just served.

    Tenants have turns in the order of their ids. Locks one row with SKIP LOCKED.
    """
    found = await _CLAIM.row(tx, lease=lease, token=token, served=served)
    if found is None and served != _FIRST:
        found = await _CLAIM.row(tx, lease=lease, token=token, served=_FIRST)
    return found


async def hold(tx: Tx, operation_id: UUID, token: UUID) -> str | None:
    """Lock an operation until the transaction ends; its state, or None if the fencing token is stale."""
    row = await _HOLD.row(tx, operation_id=operation_id, token=token)
    return row.state if row else None


async def advance(tx: Tx, operation_id: UUID, token: UUID, progress: Progress) -> str | None:
    """Record a batch; returns the state after it, or None if the fencing token is stale.

    An operation that was stopped meanwhile stays stopped, and what the batch did is counted.
    """
    row = await _ADVANCE.row(tx, operation_id=operation_id, token=token, **progress._asdict())
    return row.state if row else None


async def is_due(tx: Tx) -> bool:
    """Whether an operation is due."""
    return bool((await _DUE.one(tx)).found)
