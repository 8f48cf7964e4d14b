"""The heartbeats of all processes of the gateway, one row each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Query, Statement

# Two heartbeats may be lost before a process counts as stale.
STALE_SECONDS = 12.0
# A process that is gone is shown for so long. The last one of each kind is kept for ever: it tells since
# when there is none.
_SHOWN_SECONDS = 600.0
_MOST_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Identity:
    """One process: `kind` is api or worker."""

    id: UUID
    kind: str
    host: str
    pid: int
    version: str


class Beat(NamedTuple):
    """The content of a heartbeat; times are in seconds ago, None where nothing was done yet."""

    up_for: float
    did: str | None
    did_ago: float | None
    clock_ahead: float
    redis: bool


class HeartbeatAnswer(NamedTuple):
    """The answer of Postgres to a heartbeat: its clock, the feed's horizon, and the transaction's id."""

    at: datetime
    horizon: int
    xact: int


class SeenProcess(NamedTuple):
    """A process by its last heartbeat, which was `silent` seconds ago; state: ok, stale, stopped."""

    id: UUID
    kind: str
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime
    did: str | None
    did_at: datetime | None
    clock_ahead: float
    redis: bool
    state: str
    silent: float


class Workers(NamedTuple):
    """When the last heartbeat of any worker came, None before the first, and whether a worker is alive."""

    last: datetime | None
    alive: bool


# `:stale` is in seconds, as STALE_SECONDS.
_STATE = """CASE WHEN stopped_at IS NOT NULL THEN 'stopped'
  WHEN seen_at <= now() - :stale::float8 * interval '1 second' THEN 'stale' ELSE 'ok' END"""

_BEAT = Query(
    """
INSERT INTO process AS p (id, kind, host, pid, version, started_at, seen_at, did, did_at,
  clock_ahead, redis)
VALUES (:id, :kind, :host, :pid, :version, now() - :up_for::float8 * interval '1 second', now(), :did,
  now() - :did_ago::float8 * interval '1 second', :clock_ahead, :redis)
ON CONFLICT (id) DO UPDATE SET seen_at = now(), stopped_at = NULL, did = excluded.did,
  did_at = excluded.did_at, clock_ahead = excluded.clock_ahead, redis = excluded.redis
RETURNING clock_timestamp() AS at, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon,
  pg_current_xact_id()::text::bigint AS xact""",
    HeartbeatAnswer,
)

_STOP = Statement("UPDATE process SET stopped_at = now(), seen_at = now() WHERE id = :process_id")

_SEEN = Query(
    f"""
SELECT id, kind, host, pid, version, started_at, seen_at, did, did_at, clock_ahead, redis,
  {_STATE} AS state, EXTRACT(epoch FROM now() - seen_at)::float8 AS silent
FROM process ORDER BY kind, started_at DESC, id LIMIT {_MOST_SHOWN}""",
    SeenProcess,
)

_FORGET = Statement(
    """
DELETE FROM process p WHERE seen_at < now() - :shown::float8 * interval '1 second'
  AND EXISTS (SELECT 1 FROM process o WHERE o.kind = p.kind AND o.seen_at > p.seen_at)"""
)

_WORKERS = Query(
    f"""
SELECT max(seen_at) AS last, COALESCE(bool_or({_STATE} = 'ok'), false) AS alive
FROM process WHERE kind = 'worker'""",
    Workers,
)

_ROUNDS = Statement(
    """
SELECT EXTRACT(epoch FROM now() - (SELECT max(swept_at) FROM beacon))::float8 AS swept,
  EXTRACT(epoch FROM now() - (SELECT max(pruned_at) FROM tenant))::float8 AS pruned"""
)


async def beat(tx: Tx, who: Identity, what: Beat) -> HeartbeatAnswer:
    """Write the heartbeat of a process."""
    return await _BEAT.one(
        tx,
        id=who.id,
        kind=who.kind,
        host=who.host,
        pid=who.pid,
        version=who.version,
        **what._asdict(),
    )


async def stop(tx: Tx, process_id: UUID) -> None:
    """Record that a process ended in order."""
    await _STOP.run(tx, process_id=process_id)


async def seen(tx: Tx) -> Sequence[SeenProcess]:
    """All processes that run or ran a few minutes ago: by kind, the newest first."""
    return await _SEEN.rows(tx, stale=STALE_SECONDS)


async def workers(tx: Tx) -> Workers:
    """Whether any worker is alive."""
    return await _WORKERS.one(tx, stale=STALE_SECONDS)


async def forget(tx: Tx) -> int:
    """Drop processes that have been gone for long; returns how many."""
    return await _FORGET.run(tx, shown=_SHOWN_SECONDS)


async def last_rounds(tx: Tx) -> tuple[float | None, float | None]:
    """Seconds since the last sweep and since a tenant was last pruned; None where never."""
    row = await _ROUNDS.one(tx)
    return row.swept, row.pruned
