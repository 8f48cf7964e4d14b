"""What the console has pages of, beside the jobs of `history_data`: no list is measured while it is empty.

10,000 endpoints, a webhook for each second job with its attempts, dead letters, bulk operations, the
audit log, sessions, processes and five weeks of throughput.
"""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from gateway.core.histogram import DIGITS
from gateway.flows.admin.audit import ACTIONS
from tests.bench.sections.history_data import DAYS, ID, LARGEST, fill, take_indexes_away

ENDPOINTS = 10_000
_ACTS = 200_000
_OPERATIONS = 2_000
_SESSIONS = 500
_WAITING = 2_000
_PROCESSES = 4
_DAYS_OF_ATTEMPTS = 30

# One of ten belongs to the largest tenant; some fail, and a few are disabled.
_ENDPOINTS = f"""
INSERT INTO endpoint (id, tenant_id, url, description, events, failing_since, failures, disabled_at,
  disabled_reason, created_at)
SELECT {ID.format(at="at", r="md5('e' || n::text)")}, t.id,
  'https://hooks-' || n || '.example.com/jobs', 'Receiver ' || n, '{{job.succeeded,job.failed}}',
  CASE WHEN n % 30 = 0 THEN now() - interval '1 minute' * (n % 3000) END,
  CASE WHEN n % 30 = 0 THEN n % 50 ELSE 0 END,
  CASE WHEN n % 100 = 1 THEN now() - interval '1 day' END,
  CASE WHEN n % 100 = 1 THEN 'it failed for three days' END, at
FROM generate_series(1, {ENDPOINTS}) AS n
CROSS JOIN LATERAL (SELECT now() - interval '{DAYS} days' * (1 - n::float8 / {ENDPOINTS}) AS at) AS s
JOIN tenant t ON t.slug = 'tenant-' || lpad(CASE WHEN n % 10 = 0 THEN '0'
  ELSE (n % 1000)::text END, 4, '0')"""

_CREDENTIALS = """
INSERT INTO credential (id, tenant_id, version, base_url, sealed, failures, rejected_at,
  rejected_reason)
SELECT gen_random_uuid(), id, 1, 'http://127.0.0.1:1/v1', '\\x00', (slug LIKE '%7')::int,
  CASE WHEN slug LIKE '%33' THEN now() - interval '1 hour' END,
  CASE WHEN slug LIKE '%33' THEN 'The upstream answered 401.' END
FROM tenant WHERE slug NOT LIKE '%99'"""

_KEYS = """
INSERT INTO access_key (id, key_id, kind, tenant_id, name, scopes, digest)
SELECT gen_random_uuid(), 'bench' || t.slug || n, 'tenant', t.id, 'key ' || n, '{jobs:read}', '\\x00'
FROM tenant t, generate_series(1, 3) AS n"""

# Each second job has told one endpoint of its tenant. Those of disabled ones are parked.
_TOLD = """
CREATE TEMP TABLE told ON COMMIT DROP AS
SELECT j.id AS job_id, j.tenant_id, j.completed_at AS at, j.workflow, j.name,
  'job.' || j.state AS type, md5(j.id::text) AS r, e.ids[1 + d.chance % cardinality(e.ids)] AS endpoint_id,
  d.chance, row_number() OVER (ORDER BY j.id) AS n
FROM job j
CROSS JOIN LATERAL (SELECT abs(hashtext(j.id::text)) AS chance) AS d
JOIN (SELECT tenant_id, array_agg(id) AS ids FROM endpoint GROUP BY tenant_id) AS e
  ON e.tenant_id = j.tenant_id
WHERE j.completed_at IS NOT NULL AND d.chance % 2 = 0 AND j.state IN ('succeeded', 'failed')
ORDER BY j.id"""

_OF_EVENT, _OF_DELIVERY = ID.format(at="at", r="r"), ID.format(at="at", r="reverse(r)")

_EVENTS = f"""
INSERT INTO event (id, tenant_id, job_id, type, body, created_at)
SELECT {_OF_EVENT}, tenant_id, job_id, type, json_build_object('type', type, 'timestamp', at, 'data',
  json_build_object('id', job_id, 'name', name, 'workflow', workflow, 'status', 'SUCCEEDED', 'result',
  json_build_object('vocals', 'https://cdn.example.com/' || r || '/vocals.wav')))::text, at
FROM told ORDER BY n"""

_DELIVERIES = f"""
INSERT INTO delivery (id, tenant_id, event_id, job_id, endpoint_id, lane, state, attempts, next_at, type,
  last_status, last_class, last_error, created_at, completed_at)
SELECT {_OF_DELIVERY}, d.tenant_id, {_OF_EVENT}, d.job_id, d.endpoint_id, d.endpoint_id, s.state,
  CASE s.state WHEN 'parked' THEN 0 WHEN 'delivered' THEN 1 WHEN 'pending' THEN 2 ELSE 3 END,
  now() + interval '1 minute' * (d.chance % 900 - 450), d.type,
  CASE s.state WHEN 'delivered' THEN 200 WHEN 'parked' THEN NULL ELSE s.status END,
  CASE WHEN s.state IN ('exhausted', 'pending') THEN CASE WHEN s.status IS NULL THEN 'connect'
    ELSE 'http_' || s.status / 100 || 'xx' END END,
  CASE WHEN s.state IN ('exhausted', 'pending') THEN 'The receiver did not take it.' END,
  d.at, CASE WHEN s.state <> 'pending' THEN d.at END
FROM told d JOIN endpoint e ON e.id = d.endpoint_id
CROSS JOIN LATERAL (SELECT CASE WHEN e.disabled_at IS NOT NULL AND d.chance % 7 = 0 THEN 'parked'
  WHEN d.chance % 40 = 4 THEN 'exhausted'
  WHEN d.at > now() - interval '3 days' AND d.chance % 20 = 6 THEN 'pending' ELSE 'delivered' END AS state,
  (ARRAY[503, 500, 404, NULL, 429])[1 + d.chance / 40 % 5]::smallint AS status) AS s
ORDER BY d.n"""

_ATTEMPTS = f"""
INSERT INTO attempt (delivery_id, number, tenant_id, started_at, duration_ms, url, request_headers, status,
  response_headers, response_body, error_class, detail, timings)
SELECT d.id, n, d.tenant_id, d.created_at, 5 + n, e.url,
  json_build_object('webhook-id', d.event_id, 'webhook-timestamp', '1700000000', 'webhook-signature',
    'v1,' || md5(d.id::text), 'content-type', 'application/json'),
  d.last_status, '{{"content-type": "application/json", "server": "nginx"}}', '{{"ok": true}}',
  d.last_class, d.last_error, '{{"dns": 0.001, "connect": 0.002, "tls": 0.01, "firstByte": 0.02}}'
FROM delivery d JOIN endpoint e ON e.id = d.endpoint_id CROSS JOIN generate_series(1, d.attempts) AS n
WHERE d.created_at > now() - interval '{_DAYS_OF_ATTEMPTS} days'"""

_WAIT = f"""
INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, deadline_at, created_at)
SELECT {ID.format(at="at", r="md5('w' || n::text)")}, t.id, 'accepted', 'Waiting ' || n,
  'music-ai/workflow-0', '{{"inputUrl":"https://media.example.com/a.wav"}}', '{{}}', at + interval '1 day', at
FROM generate_series(1, {_WAITING}) AS n
CROSS JOIN LATERAL (SELECT now() - interval '1 second' * ({_WAITING} - n) AS at) AS s
JOIN tenant t ON t.slug = 'tenant-' || lpad(CASE WHEN n % 4 = 0 THEN '0'
  ELSE (n % 1000)::text END, 4, '0')"""

_BULK = f"""
INSERT INTO bulk (id, tenant_id, kind, endpoint_id, filter, state, total, done, until, next_at, created_at,
  completed_at)
SELECT {ID.format(at="at", r="md5('b' || n::text)")}, e.tenant_id,
  (ARRAY['resend', 'recover', 'replay-missing'])[1 + n % 3], e.id, '{{"states":["exhausted"]}}',
  CASE WHEN n > {_OPERATIONS} - 20 THEN 'running' ELSE 'done' END, 1000, CASE WHEN n > {_OPERATIONS} - 20 THEN
  n % 1000 ELSE 1000 END, e.id, at, at, CASE WHEN n <= {_OPERATIONS} - 20 THEN at END
FROM generate_series(1, {_OPERATIONS}) AS n
CROSS JOIN LATERAL (SELECT now() - interval '{DAYS} days' * (1 - n::float8 / {_OPERATIONS}) AS at) AS s
JOIN (SELECT id, tenant_id, row_number() OVER (ORDER BY id) AS place FROM endpoint) AS e
  ON e.place = n * 5"""

# Most acts are sign-ins and retries of people; the last action of all is rare and long ago.
_AUDIT = f"""
INSERT INTO audit (id, at, key_id, action, subject, tenant_id, detail)
SELECT {ID.format(at="s.at", r="md5('a' || n::text)")}, s.at, 'benchtenant-' || lpad((n % 40)::text, 4, '0') || '1',
  CASE WHEN n < 50 THEN 'tenant.deleted' ELSE ($1::text[])[1 + n % cardinality($1::text[])] END,
  'subject-' || n, CASE WHEN n % 3 > 0 THEN t.id END, '{{"keyId": "bench", "address": "192.0.2.7"}}'
FROM generate_series(1, {_ACTS}) AS n
CROSS JOIN LATERAL (SELECT now() - interval '{DAYS} days' * (1 - n::float8 / {_ACTS}) AS at) AS s
JOIN tenant t ON t.slug = 'tenant-' || lpad(CASE WHEN n % 10 < 3 THEN '0' ELSE (n % 1000)::text END, 4, '0')
ORDER BY n"""

_SESSION = f"""
INSERT INTO session (id, kind, role, who, pages, theme, digest, created_at, expires_at, last_seen_at)
SELECT {ID.format(at="now() - interval '1 minute' * n / 10", r="md5('s' || n::text)")}, 'console', 'viewer',
  'person-' || n, '{{}}', '{{}}', decode(md5(n::text), 'hex'), now(), now() + interval '12 hours', now()
FROM generate_series(1, {_SESSIONS}) AS n"""

_PROCESS = f"""
INSERT INTO process (id, kind, host, pid, version, started_at, seen_at, did, did_at, clock_ahead, redis)
SELECT gen_random_uuid(), (ARRAY['api', 'worker'])[1 + n % 2], 'host-' || n, n, '0.1', now() - interval '1 day',
  now() + interval '1 hour', 'submit submitted', now(), 0.0, true
FROM generate_series(1, {_PROCESSES}) AS n"""

# Histograms as a busy process writes them: some twenty buckets each.
_HISTOGRAM = f"""(SELECT sum((1 + (b * 7 + extract(epoch FROM at)::bigint / 60) % 9)::numeric
  * ('1e' || {DIGITS} * (b * 3 + {{from_}}))::numeric) FROM generate_series(1, 20) AS b)"""
_THROUGHPUT = f"""
INSERT INTO throughput (step, at, process_id, accepted, refused, succeeded, failed, delivered, undelivered,
  wait_histogram, run_histogram, total_histogram, attempt_histogram)
SELECT step, at, p.id, 20 * step + n, 1, 18 * step + n, 2 * step, 19 * step + n, step,
  h.wait, h.run, h.total, h.attempt
FROM (VALUES (1, 2880), (10, 288), (60, 840)) AS s(step, spans)
CROSS JOIN LATERAL generate_series(0, spans - 1) AS n
CROSS JOIN LATERAL (SELECT date_bin(step * interval '1 minute', now(), 'epoch')
  - n * step * interval '1 minute' AS at) AS a
CROSS JOIN LATERAL (SELECT {_HISTOGRAM.format(from_=20)} AS wait, {_HISTOGRAM.format(from_=150)} AS run,
  {_HISTOGRAM.format(from_=160)} AS total, {_HISTOGRAM.format(from_=40)} AS attempt OFFSET 0) AS h
CROSS JOIN process p"""


@dataclass(frozen=True, slots=True)
class Examples:
    """Things that have pages of their own, of the largest tenant."""

    job: UUID
    upstream_id: str
    delivery: UUID
    event: UUID
    dead_letter: UUID
    endpoint: UUID
    operation: UUID


_EXAMPLES = """
SELECT (SELECT id FROM job WHERE tenant_id = t.id AND state = 'failed' ORDER BY id DESC LIMIT 1) AS job,
  (SELECT upstream_id FROM job WHERE tenant_id = t.id AND state = 'failed' ORDER BY id DESC LIMIT 1)
    AS upstream_id,
  (SELECT id FROM delivery WHERE tenant_id = t.id AND state = 'delivered' ORDER BY id DESC LIMIT 1)
    AS delivery,
  (SELECT event_id FROM delivery WHERE tenant_id = t.id AND state = 'delivered' ORDER BY id DESC LIMIT 1)
    AS event,
  (SELECT id FROM delivery WHERE tenant_id = t.id AND state = 'exhausted' ORDER BY id DESC LIMIT 1)
    AS dead_letter,
  (SELECT id FROM endpoint WHERE tenant_id = t.id AND disabled_at IS NULL AND failing_since IS NOT NULL
    ORDER BY id DESC LIMIT 1) AS endpoint,
  (SELECT id FROM bulk WHERE tenant_id = t.id ORDER BY id DESC LIMIT 1) AS operation
FROM tenant t WHERE t.slug = $1"""


async def fill_pages(url: str) -> Examples:
    """Fill an empty, migrated database with everything that pages show."""
    await fill(url)
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL work_mem = '128MB'")
            await connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
            await connection.execute("SET LOCAL jit = off")
            indexes = await take_indexes_away(connection, "event", "delivery")
            for statement in (
                _ENDPOINTS,
                _CREDENTIALS,
                _KEYS,
                _TOLD,
                "ANALYZE told",
                "ANALYZE endpoint",
            ):
                await connection.execute(statement, timeout=None)
            for statement in (_EVENTS, _DELIVERIES, _ATTEMPTS):
                await connection.execute(statement, timeout=None)
            for statement in (*indexes, _WAIT, _BULK, _SESSION, _PROCESS, _THROUGHPUT):
                await connection.execute(statement, timeout=None)
            await connection.execute(_AUDIT, list(ACTIONS[:4] + ACTIONS[5:]), timeout=None)
        await connection.execute("VACUUM (ANALYZE)", timeout=None)
        await connection.execute("CHECKPOINT", timeout=None)
        row = await connection.fetchrow(_EXAMPLES, LARGEST)
        assert row is not None
        return Examples(**row)
    finally:
        await connection.close()
