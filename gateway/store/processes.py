"""The heartbeats of all processes of the gateway."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx

# Two heartbeats may be lost before a process counts as stale.
STALE_SECONDS = 12.0
# So long those that are gone are shown; the last of each kind for ever, which tells since when.
_SHOWN_SECONDS = 600.0
_MOST_SHOWN = 500

_BEAT = """
INSERT INTO process AS p (id, kind, host, pid, version, started_at, seen_at, did, did_at,
  clock_ahead, redis)
VALUES ($1, $2, $3, $4, $5, now() - $6::float8 * interval '1 second', now(), $7,
  now() - $8::float8 * interval '1 second', $9, $10)
ON CONFLICT (id) DO UPDATE SET seen_at = now(), stopped_at = NULL, did = excluded.did,
  did_at = excluded.did_at, clock_ahead = excluded.clock_ahead, redis = excluded.redis
RETURNING clock_timestamp(), pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
  pg_current_xact_id()::text::bigint"""

_STOP = "UPDATE process SET stopped_at = now(), seen_at = now() WHERE id = $1"

_STATE = """CASE WHEN stopped_at IS NOT NULL THEN 'stopped'
  WHEN seen_at <= now() - $1::float8 * interval '1 second' THEN 'stale' ELSE 'ok' END"""

_SEEN = f"""
SELECT id, kind, host, pid, version, started_at, seen_at, did, did_at, clock_ahead, redis,
  {_STATE} AS state, EXTRACT(epoch FROM now() - seen_at)::float8 AS silent
FROM process ORDER BY kind, started_at DESC, id LIMIT {_MOST_SHOWN}"""

_FORGET = """
DELETE FROM process p WHERE seen_at < now() - $1::float8 * interval '1 second'
  AND EXISTS (SELECT 1 FROM process o WHERE o.kind = p.kind AND o.seen_at > p.seen_at)"""

_WORKERS = f"""
SELECT max(seen_at) AS last, COALESCE(bool_or({_STATE} = 'ok'), false) AS alive
FROM process WHERE kind = 'worker'"""


_ROUNDS = """
SELECT EXTRACT(epoch FROM now() - (SELECT max(swept_at) FROM beacon))::float8,
  EXTRACT(epoch FROM now() - (SELECT max(pruned_at) FROM tenant))::float8"""


@dataclass(frozen=True, slots=True)
class Identity:
    """One process: `kind` is api or worker."""

    id: UUID
    kind: str
    host: str
    pid: int
    version: str


class Beat(NamedTuple):
    """What a heartbeat tells; times are in seconds ago, None where there was nothing."""

    up_for: float
    did: str | None
    did_ago: float | None
    clock_ahead: float
    redis: bool


class Told(NamedTuple):
    """What Postgres answers a heartbeat: its clock, the feed's horizon, and its own transaction."""

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
    """When the last heartbeat of any worker came, None before the first, and if that is fresh."""

    last: datetime | None
    alive: bool


async def beat(tx: Tx, who: Identity, what: Beat) -> Told:
    """Write a heartbeat."""
    row = await tx.one(
        _BEAT,
        who.id,
        who.kind,
        who.host,
        who.pid,
        who.version,
        what.up_for,
        what.did,
        what.did_ago,
        what.clock_ahead,
        what.redis,
    )
    return Told(*row)


async def stop(tx: Tx, process_id: UUID) -> None:
    """Note that a process ended as it should."""
    await tx.run(_STOP, process_id)


async def seen(tx: Tx) -> Sequence[SeenProcess]:
    """All processes that there are or were a little while ago, workers last, the newest first."""
    return [SeenProcess(*row) for row in await tx.rows(_SEEN, STALE_SECONDS)]


async def workers(tx: Tx) -> Workers:
    """Whether there is any worker."""
    return Workers(*await tx.one(_WORKERS, STALE_SECONDS))


async def forget(tx: Tx) -> int:
    """Drop those that have been gone for long; how many."""
    return await tx.run(_FORGET, _SHOWN_SECONDS)


async def last_rounds(tx: Tx) -> tuple[float | None, float | None]:
    """Seconds since the last sweep and since a tenant was last pruned; None where never."""
    return tuple(await tx.one(_ROUNDS))
