"""What `gateway doctor` reads of the server: nothing of tenants, and no statement that takes long."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from gateway.core.diagnosis import OpenTransaction, ServerFacts, TableFacts
from gateway.store.connection.connect import GUARDS
from gateway.store.database import Tx
from gateway.store.schema import metadata
from gateway.store.statement import Query, Statement
from gateway.store.webhooks import deliveries
from gateway.store.work import polls, submits

_TABLES = [table.name for table in metadata.sorted_tables]
_MOST_TRANSACTIONS = 5
_MOST_CODES = 20

# A login without pg_read_all_stats sees the rows of other sessions, and little of their content.
_SERVER = Query(
    """
SELECT current_setting('server_version_num')::int AS version, current_user::text AS login,
  COALESCE(s.ssl, false) AS is_encrypted, s.version AS protocol, pg_is_in_recovery() AS is_replica,
  (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL)::int AS connections,
  current_setting('max_connections')::int AS most_connections,
  pg_database_size(current_database()) AS size, age(d.datfrozenxid)::int AS frozen_age,
  current_setting('autovacuum')::bool AS has_autovacuum
FROM pg_database d LEFT JOIN pg_stat_ssl s ON s.pid = pg_backend_pid()
WHERE d.datname = current_database()""",
    ServerFacts,
)

_SIZES = Query(
    """
SELECT t.relname::text AS name, pg_total_relation_size(t.relid) AS size, t.n_live_tup AS rows,
  t.n_dead_tup AS dead
FROM pg_stat_user_tables t
WHERE t.schemaname = current_schema() AND t.relname = ANY(:tables::text[]) ORDER BY t.relname""",
    TableFacts,
)

_INVALID = Statement(
    """
SELECT i.relname::text AS name FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
  JOIN pg_class t ON t.oid = x.indrelid
WHERE NOT x.indisvalid AND t.relnamespace = current_schema()::regnamespace
  AND t.relname = ANY(:tables::text[]) ORDER BY i.relname"""
)

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

_NOW = Statement("SELECT clock_timestamp() AS now")

_ENDED = Statement(
    """
SELECT error_code, sum(jobs)::bigint AS jobs FROM usage_daily
WHERE day >= date_trunc('day', now(), 'UTC') - interval '1 day'
GROUP BY error_code ORDER BY jobs DESC LIMIT :most::int"""
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


async def invalid_indexes(tx: Tx) -> Sequence[str]:
    """The names of the gateway's indexes that Postgres does not use."""
    return [row.name for row in await _INVALID.rows(tx, tables=_TABLES)]


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
