"""A past to ask questions about: ended jobs of 1,000 tenants over 90 days, 30 % of them of one.

`ROWS` in the environment says how many, 1,000,000 unless it is set. Made by Postgres itself, with
about 50 us of CPU for each job and its usage, and the same every time but for where the time ends.
"""

import os
from uuid import UUID

import asyncpg

from gateway.store.usage.rollups import adding, of_jobs

ROWS = int(os.environ.get("ROWS", "1000000"))
TENANTS = 1000
LARGEST = "tenant-0000"  # whose 30 % are
DAYS = 90
WORKFLOWS = 6

# Ids carry the time as those of the gateway do; `r` gives each row chance that is its own.
ID = """(lpad(to_hex(floor(EXTRACT(epoch FROM {at}) * 1000)::bigint), 12, '0') || '7'
  || substr({r}, 1, 3) || '8' || substr({r}, 4, 15))::uuid"""

_TENANTS = f"""
INSERT INTO tenant (id, slug, name, metadata, created_at)
SELECT {ID.format(at="at", r="md5(n::text)")}, 'tenant-' || lpad(n::text, 4, '0'),
  'Tenant ' || n, '{{}}', at
FROM generate_series(0, {TENANTS - 1}) AS n, (SELECT now() - interval '{DAYS} days' AS at) AS t"""

# In the order of time, as they came. Few are still open, and some were never submitted.
_JOBS = f"""
INSERT INTO job (id, tenant_id, state, name, batch_name, workflow, params, metadata,
  idempotency_key, retry_of, created_at, deadline_at, next_at, submit_attempts, sent_at,
  submitted_at, upstream_id, started_at, completed_at, result, error, version)
SELECT {ID.format(at="s.at", r="s.r")}, t.id, s.state, 'Track ' || s.n,
  CASE WHEN s.n % 5 = 0 THEN 'release-' || s.n / 5000 END,
  'music-ai/workflow-' || floor(power(s.d, 2) * {WORKFLOWS}),
  '{{"inputUrl":"https://media.example.com/uploads/2026/a-song-with-a-usual-name.wav",'
    '"quality":"high"}}',
  jsonb_build_object('customer', 'c-' || s.n % 5000, 'order', 'o-' || s.n, 'source',
    (ARRAY['ingest', 'web', 'mobile'])[1 + s.n % 3]),
  'key-' || s.n, CASE WHEN s.n % 100 = 0 THEN s.r::uuid END, s.at, s.at + interval '1 day', s.at,
  s.submitted::int, s.begun, s.begun, CASE WHEN s.submitted THEN s.r END, s.begun,
  CASE WHEN s.state <> 'running' THEN s.begun + s.took END,
  CASE WHEN s.state = 'succeeded' THEN json_build_object('vocals', 'https://cdn.example.com/'
    || s.r || '/vocals.wav', 'other', 'https://cdn.example.com/' || s.r || '/other.wav') END,
  CASE WHEN s.state = 'failed' THEN json_build_object('code', s.code, 'title', s.code, 'message',
    'The upstream said so.', 'origin', 'upstream', 'retryable', false) END, 4
FROM (
  SELECT n, at, r, d, state, code, state <> 'cancelled' AS submitted, at + wait AS begun, took
  FROM (
    SELECT n, md5(n::text) AS r, random() AS c, random() AS d, random() AS e,
      now() - interval '{DAYS} days' * (1 - n::float8 / $1) AS at,
      interval '1 second' * exp(random_normal(0, 0.8)) AS wait,
      interval '1 second' * exp(random_normal(3.5, 0.6)) AS took
    FROM generate_series(1, $1::bigint) AS n OFFSET 0) AS made,
  LATERAL (SELECT CASE WHEN c < 0.9 THEN 'succeeded' WHEN c < 0.985 THEN 'failed'
      WHEN c < 0.999 THEN 'cancelled' ELSE 'running' END AS state,
    (ARRAY['BAD_INPUT', 'TIMEOUT', 'INTERNAL_ERROR', 'UPSTREAM_LOST'])[1 + floor(power(e, 2) * 4)::int]
      AS code) AS ended
) AS s
JOIN tenant t ON t.slug = 'tenant-' || lpad(CASE WHEN s.n % 10 < 3 THEN '0'
  ELSE (1 + s.n / 10 % {TENANTS - 1})::text END, 4, '0')
ORDER BY s.n"""


async def fill(url: str, rows: int = ROWS) -> UUID:
    """Fill an empty, migrated database, roll-ups too; the id of the largest tenant."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL work_mem = '256MB'")
            await connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
            await connection.execute("SET LOCAL jit = off")
            await connection.execute("SELECT setseed(0.5)")
            await connection.execute(_TENANTS)
            indexes = await take_indexes_away(connection, "job", "job_label")
            await connection.execute(_JOBS, rows, timeout=None)
            for index in indexes:
                await connection.execute(index)
            await connection.execute(adding(of_jobs("TRUE")))
        await connection.execute("VACUUM (ANALYZE)")
        # Or what was filled in is written to disk while the questions are asked.
        await connection.execute("CHECKPOINT", timeout=None)
        return await connection.fetchval("SELECT id FROM tenant WHERE slug = $1", LARGEST)
    finally:
        await connection.close()


async def take_indexes_away(connection: asyncpg.Connection, *tables: str) -> list[str]:
    """Drop the indexes, for which each row would pay one by one; answers what makes them again."""
    found = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY($1)"
        " AND schemaname = 'public' AND indexname <> tablename || '_pkey'",
        tables,
    )
    for row in found:
        await connection.execute(f"DROP INDEX {row['indexname']}")
    return [row["indexdef"] for row in found]
