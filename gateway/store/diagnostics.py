"""What `gateway doctor` reads of the server: nothing of tenants, and no statement that takes long."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from gateway.core.diagnosis.disk import DiskFacts, SlotFacts, TableFacts
from gateway.core.diagnosis.partitions import PartitionFacts
from gateway.core.diagnosis.server import ServerFacts
from gateway.core.diagnosis.transactions import OpenTransaction
from gateway.store.connection.connect import GUARDS
from gateway.store.database import Tx
from gateway.store.schema import metadata
from gateway.store.statement import Query, Statement
from gateway.store.webhooks import deliveries
from gateway.store.work import polls, submits, sweeps

_TABLES = [table.name for table in metadata.sorted_tables]
_MOST_TRANSACTIONS = 5
_MOST_SLOTS = 20
_MOST_QUEUES = 5
_MOST_CODES = 20


class FullQueue(NamedTuple):
    """A tenant with as many jobs waiting as it may have."""

    slug: str
    waiting: int
    most: int


# A login without pg_read_all_stats sees the rows of other sessions, and little of their content.
_SERVER = Query(
    """
SELECT current_setting('server_version_num')::int AS version, current_user::text AS login,
  COALESCE(s.ssl, false) AS is_encrypted, s.version AS protocol, pg_is_in_recovery() AS is_replica,
  (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL)::int AS connections,
  current_setting('max_connections')::int AS most_connections,
  pg_database_size(current_database()) AS size, age(d.datfrozenxid)::int AS frozen_age,
  current_setting('autovacuum')::bool AS has_autovacuum,
  current_setting('synchronous_standby_names') AS sync_standbys,
  (SELECT count(*) FROM pg_stat_replication)::int AS standbys
FROM pg_database d LEFT JOIN pg_stat_ssl s ON s.pid = pg_backend_pid()
WHERE d.datname = current_database()""",
    ServerFacts,
)

_SIZES = Query(
    """
SELECT c.relname::text AS name, sum(pg_total_relation_size(t.relid))::bigint AS size,
  sum(t.n_live_tup)::bigint AS rows, sum(t.n_dead_tup)::bigint AS dead,
  EXTRACT(epoch FROM now() - max(GREATEST(t.last_vacuum, t.last_autovacuum)))::float8 AS vacuumed
FROM pg_stat_user_tables t JOIN pg_class c ON c.oid = COALESCE(pg_partition_root(t.relid), t.relid)
WHERE t.schemaname = current_schema() AND c.relname = ANY(:tables::text[])
GROUP BY c.relname ORDER BY c.relname""",
    TableFacts,
)

_MAY_SEE_WAL = Statement("SELECT has_function_privilege('pg_ls_waldir()', 'EXECUTE') AS may")

_WAL = Statement("SELECT sum(size)::bigint AS size FROM pg_ls_waldir()")

# An archiver that has succeeded since its last failure works again.
_DISK = Query(
    """
SELECT :wal::bigint AS wal, pg_size_bytes(current_setting('max_wal_size')) AS most_wal,
  CASE WHEN w.stats_reset < now() - interval '1 hour' THEN
    (w.wal_bytes / EXTRACT(epoch FROM now() - w.stats_reset) * 86400)::bigint END AS daily_wal,
  d.temp_bytes AS temp,
  CASE WHEN current_setting('archive_mode') <> 'off'
    AND a.last_failed_time > COALESCE(a.last_archived_time, '-infinity')
    THEN a.last_failed_wal END AS failed_segment,
  COALESCE(EXTRACT(epoch FROM now() - GREATEST(a.last_archived_time, a.stats_reset)), 0)::float8
    AS failed
FROM pg_stat_wal w, pg_stat_archiver a, pg_stat_database d WHERE d.datname = current_database()""",
    DiskFacts,
)

_SLOTS = Query(
    """
SELECT s.slot_name::text AS name, s.active AS is_active, COALESCE(s.wal_status, '') AS status,
  COALESCE(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
    ELSE pg_current_wal_lsn() END, s.restart_lsn), 0)::bigint AS held
FROM pg_replication_slots s ORDER BY held DESC LIMIT :most::int""",
    SlotFacts,
)

_MAY_WRITE = Statement("SELECT has_database_privilege(current_database(), 'TEMPORARY') AS may")

# A megabyte where new tables of the database go. Nothing of it stays.
_WRITE = Statement(
    """
CREATE TEMPORARY TABLE gateway_doctor ON COMMIT DROP AS
SELECT repeat('x', 1000) AS filler FROM generate_series(1, 1000)"""
)

_INVALID = Statement(
    """
SELECT i.relname::text AS name FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
  JOIN pg_class t ON t.oid = COALESCE(pg_partition_root(x.indrelid), x.indrelid)
WHERE NOT x.indisvalid AND t.relnamespace = current_schema()::regnamespace
  AND t.relname = ANY(:tables::text[]) ORDER BY i.relname"""
)

_PARTITIONS = Statement(
    """
SELECT (SELECT max(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''([^'']+)''\\)'))::uuid
    FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
    WHERE h.inhparent = 'job'::regclass) AS end_id,
  EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = 'job'::regclass
    AND conname = 'job_old_bound') AS unfinished"""
)
# Only the default partition has such ids.
_LATE = Statement("SELECT EXISTS (SELECT 1 FROM job WHERE id >= :end_id) AS found")

_OPEN = Query(
    """
SELECT pid, NULL::text AS gid, COALESCE(datname::text, '') AS database,
  COALESCE(usename::text, '') AS login, COALESCE(application_name, '') AS application,
  COALESCE(state, '') AS state, EXTRACT(epoch FROM now() - xact_start)::float8 AS seconds
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
UNION ALL
SELECT NULL, gid, database::text, owner::text, '', 'prepared',
  EXTRACT(epoch FROM now() - prepared)::float8
FROM pg_prepared_xacts ORDER BY seconds DESC NULLS LAST LIMIT :most::int""",
    OpenTransaction,
)

_SWEEP_LOCK = Query(
    """
SELECT a.pid, NULL::text AS gid, COALESCE(a.datname::text, '') AS database,
  COALESCE(a.usename::text, '') AS login, COALESCE(a.application_name, '') AS application,
  COALESCE(a.state, '') AS state,
  EXTRACT(epoch FROM now() - COALESCE(a.xact_start, a.state_change))::float8 AS seconds
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND a.datname = current_database()
  AND l.classid::bigint << 32 | l.objid::bigint = :leader::bigint""",
    OpenTransaction,
)

_NOW = Statement("SELECT clock_timestamp() AS now")

_ENDED = Statement(
    """
SELECT error_code, sum(jobs)::bigint AS jobs FROM usage_daily
WHERE day >= date_trunc('day', now(), 'UTC') - interval '1 day'
GROUP BY error_code ORDER BY jobs DESC LIMIT :most::int"""
)

_FULL_QUEUES = Query(
    """
SELECT t.slug, sum(l.waiting)::bigint AS waiting, COALESCE(t.max_queued, :most::int) AS most
FROM tenant_load l JOIN tenant t ON t.id = l.tenant_id
GROUP BY t.id HAVING sum(l.waiting) >= COALESCE(t.max_queued, :most::int)
ORDER BY waiting DESC LIMIT :shown::int""",
    FullQueue,
)

# The statements that every worker runs many times a second.
_MAIN = {"submit": submits.CLAIM, "poll": polls.CLAIM, "deliver": deliveries.CLAIM}
_GENERIC_PLAN_SINCE = 160_000


async def server(tx: Tx) -> ServerFacts:
    """The server, as this session sees it."""
    return await _SERVER.one(tx)


async def guards(tx: Tx) -> Mapping[str, str]:
    """The settings that must be in force in each transaction, as they are."""
    return {name: (await tx.one(f"SHOW {name}"))[0] for name in GUARDS}


async def tables(tx: Tx) -> Sequence[TableFacts]:
    """The gateway's tables."""
    return await _SIZES.rows(tx, tables=_TABLES)


async def disk(tx: Tx) -> DiskFacts:
    """The log and the temporary files; the size of the log only where the login may see it."""
    may_see = (await _MAY_SEE_WAL.one(tx)).may
    size = (await _WAL.one(tx)).size if may_see else None
    return await _DISK.one(tx, wal=size)


async def slots(tx: Tx) -> Sequence[SlotFacts]:
    """The replication slots of the server, those first that hold back most."""
    return await _SLOTS.rows(tx, most=_MOST_SLOTS)


async def write(tx: Tx) -> bool:
    """Write a megabyte that is gone with the transaction; False if the login may not."""
    if not (await _MAY_WRITE.one(tx)).may:
        return False
    await _WRITE.run(tx)
    return True


async def sweep_lock(tx: Tx) -> Sequence[OpenTransaction]:
    """The sessions that hold the lock of the sweep."""
    return await _SWEEP_LOCK.rows(tx, leader=sweeps.LEADER)


async def full_queues(tx: Tx, most: int) -> Sequence[FullQueue]:
    """The tenants with as many jobs waiting as they may have, by default `most`."""
    return await _FULL_QUEUES.rows(tx, most=most, shown=_MOST_QUEUES)


async def invalid_indexes(tx: Tx) -> Sequence[str]:
    """The names of the gateway's indexes that Postgres does not use."""
    return [row.name for row in await _INVALID.rows(tx, tables=_TABLES)]


async def partitions(tx: Tx) -> PartitionFacts:
    """The partitions of the jobs."""
    found = await _PARTITIONS.one(tx)
    late = found.end_id is not None and (await _LATE.one(tx, end_id=found.end_id)).found
    return PartitionFacts(found.end_id, late, found.unfinished)


async def open_transactions(tx: Tx) -> Sequence[OpenTransaction]:
    """The oldest transactions on the whole server that have written, prepared ones as well."""
    return await _OPEN.rows(tx, most=_MOST_TRANSACTIONS)


async def now(tx: Tx) -> datetime:
    """The clock of the server."""
    return (await _NOW.one(tx)).now


async def ended_by_code(tx: Tx) -> Mapping[str, int]:
    """How many jobs ended yesterday and today, by error code; an empty code for success."""
    return {row.error_code: row.jobs for row in await _ENDED.rows(tx, most=_MOST_CODES)}


async def plans(tx: Tx, version: int) -> Mapping[str, Sequence[str]]:
    """The plans of the main statements, without any value; none before Postgres 16."""
    if version < _GENERIC_PLAN_SINCE:
        return {}
    found: dict[str, Sequence[str]] = {}
    for name, query in _MAIN.items():
        sql, nothing = query.statement.sql, [None] * len(query.statement.names)
        rows = await tx.rows(f"EXPLAIN (GENERIC_PLAN) {sql}", *nothing)
        found[name] = [row[0] for row in rows]
    return found
