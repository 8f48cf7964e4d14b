"""What a server says of itself as a primary or a standby. Any login may ask."""

from gateway.core.replica.progress import ServerState
from gateway.store.database import Tx
from gateway.store.statement import Statement
from gateway.store.work.restore_detection import cluster_of

# What a primary has flushed, not what it has inserted: a position just behind the header of a page is never
# reached by a standby that has replayed everything before it.
_POSITION = """
COALESCE(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
  ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn, 0)::bigint AS position"""
_STATE = Statement(f"SELECT pg_is_in_recovery() AS is_standby, {_POSITION}, id, epoch FROM beacon")
_WHERE = Statement(f"SELECT {_POSITION}")


async def server_state(tx: Tx) -> ServerState:
    """The server behind a connection."""
    row = await _STATE.one(tx)
    return ServerState(row.is_standby, row.position, row.id, row.epoch, await cluster_of(tx))


async def wal_position(tx: Tx) -> int:
    """Only its position in the WAL: flushed on a primary, replayed on a standby."""
    return (await _WHERE.one(tx)).position
