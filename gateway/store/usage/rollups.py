"""The roll-ups of usage: add ended jobs, and ended deliveries about them.

Everything in a roll-up is a sum, so additions may come in any order and from several transactions at once. No
sum is ever read to be changed.
"""

import math
from collections.abc import Sequence
from uuid import UUID

from gateway.core import histogram
from gateway.store.database import Tx
from gateway.store.statement import Statement

KEY = "tenant_id, hour, workflow, status, error_code, batch_name"
COUNTS = ("jobs", "submitted", "retries", "webhooks_delivered", "webhooks_failed")
TIMES = ("wait_microseconds", "run_microseconds", "total_microseconds")
HISTOGRAMS = ("wait_histogram", "run_histogram", "total_histogram")
SUMS = (*COUNTS, *TIMES, *HISTOGRAMS)
DAILY_KEY = "tenant_id, day, workflow, status, error_code"
# An upstream's error code may be of any length; a key of an index may not.
_CODE = "left(COALESCE(j.error->>'code', ''), 100)"
# The first key of the advisory locks of tenants.
_SHARD_LOCK = 7_203
_FINEST = round(histogram.FINEST_SECONDS * 1_000_000)


def _one(time: str) -> str:
    """The histogram of one duration in microseconds."""
    bucket = (
        f"LEAST({histogram.LAST}, 1 + floor(ln({time} / {_FINEST:.1f})"
        f" / {math.log(histogram.GROWTH)!r}))::int"
    )
    return (
        f"CASE WHEN {time} < {_FINEST} THEN 1::numeric"
        f" ELSE ('1e' || {histogram.DIGITS} * {bucket})::numeric END"
    )


def _between(start: str, end: str) -> str:
    return f"GREATEST((EXTRACT(epoch FROM {end} - {start}) * 1000000)::bigint, 0)"


# A job that was never submitted has waited from its accept to its end.
_OF_JOBS = f"""
SELECT j.tenant_id, date_trunc('hour', j.completed_at, 'UTC') AS hour, j.workflow,
  CASE j.state WHEN 'succeeded' THEN 'SUCCEEDED' ELSE 'FAILED' END AS status,
  {_CODE} AS error_code, COALESCE(j.batch_name, '') AS batch_name,
  count(*) AS jobs, count(j.submitted_at) AS submitted, count(j.retry_of) AS retries,
  0::bigint AS webhooks_delivered, 0::bigint AS webhooks_failed,
  bigint_sum(t.wait) AS wait_microseconds, COALESCE(bigint_sum(t.run), 0) AS run_microseconds,
  bigint_sum(t.total) AS total_microseconds,
  histogram_sum({_one("t.wait")}) AS wait_histogram,
  COALESCE(histogram_sum({_one("t.run")}) FILTER (WHERE t.run IS NOT NULL), 0) AS run_histogram,
  histogram_sum({_one("t.total")}) AS total_histogram
FROM job j CROSS JOIN LATERAL (SELECT
  {_between("j.created_at", "COALESCE(j.submitted_at, j.completed_at)")} AS wait,
  CASE WHEN j.submitted_at IS NOT NULL
    THEN {_between("j.submitted_at", "j.completed_at")} END AS run,
  {_between("j.created_at", "j.completed_at")} AS total) AS t
WHERE j.state IN ('succeeded', 'failed', 'cancelled', 'expired') AND {{where}}
GROUP BY j.tenant_id, hour, j.workflow, status, {_CODE}, COALESCE(j.batch_name, '')"""

# A delivery counts under the job of its event. The event of a start comes before the job has an outcome.
_OF_WEBHOOKS = f"""
SELECT d.tenant_id, date_trunc('hour', a.started_at, 'UTC') AS hour, j.workflow, t.status,
  t.error_code, COALESCE(j.batch_name, '') AS batch_name,
  0::bigint AS jobs, 0::bigint AS submitted, 0::bigint AS retries,
  count(*) FILTER (WHERE a.error_class IS NULL) AS webhooks_delivered,
  count(a.error_class) AS webhooks_failed,
  0::bigint AS wait_microseconds, 0::bigint AS run_microseconds, 0::bigint AS total_microseconds,
  0::numeric AS wait_histogram, 0::numeric AS run_histogram, 0::numeric AS total_histogram
FROM {{tried}} JOIN event e ON e.id = d.event_id JOIN job j ON j.id = d.job_id
CROSS JOIN LATERAL (SELECT
  CASE WHEN e.type = 'job.started' THEN 'STARTED'
    WHEN j.state = 'succeeded' THEN 'SUCCEEDED' ELSE 'FAILED' END AS status,
  CASE WHEN e.type = 'job.started' THEN '' ELSE {_CODE} END AS error_code) AS t
WHERE a.next_at IS NULL AND {{where}}
GROUP BY d.tenant_id, hour, j.workflow, t.status, t.error_code, COALESCE(j.batch_name, '')"""


def of_jobs(where: str) -> str:
    """The sums of ended jobs `j`, as rows of KEY and SUMS."""
    return _OF_JOBS.format(where=where)


def of_webhooks(tried: str, where: str) -> str:
    """The sums of deliveries `d` that ended with an attempt `a`, as rows of KEY and SUMS."""
    return _OF_WEBHOOKS.format(tried=tried, where=where)


def upsert(table: str, key: str, rows: str) -> str:
    """A statement that adds rows of a key, a shard and SUMS to one roll-up."""
    more = ", ".join(f"{name} = u.{name} + excluded.{name}" for name in SUMS)
    return (
        f"INSERT INTO {table} AS u ({key}, shard, {', '.join(SUMS)}) {rows}"
        f" ON CONFLICT ({key}, shard) DO UPDATE SET {more}"
    )


def summed(sign: str = "") -> str:
    """The sums of SUMS over several rows."""
    how = (("histogram_sum" if name in HISTOGRAMS else "bigint_sum", name) for name in SUMS)
    return ", ".join(f"{function}({sign}{name}) AS {name}" for function, name in how)


def adding(new: str) -> str:
    """A statement that adds rows of KEY and SUMS to both roll-ups.

    A roll-up row has several shards. The first transaction at a tenant takes its advisory lock and adds to
    shard 0; others add to one of the further shards, so they seldom wait for each other. The rows are
    sorted, so they never deadlock.
    """
    hourly = f"SELECT {KEY}, shard, {', '.join(SUMS)} FROM sharded ORDER BY {KEY}"
    daily = (
        f"SELECT tenant_id, date_trunc('day', hour, 'UTC') AS day, workflow, status, error_code,"
        f" shard, {summed()} FROM sharded GROUP BY {DAILY_KEY}, shard ORDER BY {DAILY_KEY}"
    )
    return f"""
WITH new AS MATERIALIZED ({new}), shard AS MATERIALIZED (
  SELECT tenant_id, CASE WHEN pg_try_advisory_xact_lock({_SHARD_LOCK}, hashtext(tenant_id::text))
    THEN 0 ELSE 1 + pg_backend_pid() % 3 END AS shard
  FROM (SELECT DISTINCT tenant_id FROM new) AS t
), sharded AS MATERIALIZED (SELECT * FROM new JOIN shard USING (tenant_id)),
hourly AS ({upsert("usage_hourly", KEY, hourly)})
{upsert("usage_daily", DAILY_KEY, daily)}"""


_ADD_JOBS = Statement(adding(of_jobs("j.id = ANY(:job_ids::uuid[])")))
_ADD_WEBHOOKS = Statement(
    adding(
        of_webhooks(
            "unnest(:ids::uuid[], :numbers::int[]) AS u(id, number) JOIN delivery d ON d.id = u.id"
            " JOIN attempt a ON a.delivery_id = d.id AND a.number = u.number",
            "TRUE",
        )
    )
)


async def add_jobs(tx: Tx, job_ids: Sequence[UUID]) -> None:
    """Count jobs that have ended in this transaction."""
    await _ADD_JOBS.run(tx, job_ids=list(job_ids))


async def add_webhooks(tx: Tx, ended: Sequence[tuple[UUID, int]]) -> None:
    """Count deliveries about jobs that have ended in this transaction, as (delivery, last attempt)."""
    ids, numbers = [one[0] for one in ended], [one[1] for one in ended]
    await _ADD_WEBHOOKS.run(tx, ids=ids, numbers=numbers)
