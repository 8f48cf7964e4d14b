"""What the roll-ups of usage lack or have too much, by counting the rows once more.

A difference is a row of sums like any other, so a roll-up is put right by adding it, whatever
others add in the same moment.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.usage.rollups import (
    COUNTS,
    DAILY_KEY,
    KEY,
    SUMS,
    adding,
    of_jobs,
    of_webhooks,
    summed,
    upsert,
)

_MENDING = 7_203_115_491
_NEGATED = ", ".join(f"-{name} AS {name}" for name in SUMS)
_IS_OFF = " OR ".join(f"{name} <> 0" for name in SUMS)
_ATTEMPTS = "delivery d JOIN attempt a ON a.delivery_id = d.id"

_DAYS = f"""
SELECT day, sum(rows)::bigint FROM (
  SELECT date_trunc('day', completed_at, 'UTC') AS day, count(*) AS rows FROM job
  WHERE tenant_id = $1 AND completed_at IS NOT NULL GROUP BY day
  UNION ALL SELECT date_trunc('day', a.started_at, 'UTC') AS day, count(*) FROM {_ATTEMPTS}
  WHERE d.tenant_id = $1 GROUP BY day
  UNION ALL SELECT date_trunc('day', hour, 'UTC') AS day, 0 FROM usage_hourly
  WHERE tenant_id = $1 GROUP BY day
  UNION ALL SELECT day, 0 FROM usage_daily WHERE tenant_id = $1 GROUP BY day) AS d
GROUP BY day ORDER BY day"""


def _difference(key: str, at: str, counted: str, table: str) -> str:
    """What rows have more than a roll-up from $2 until $3, as rows of a key and SUMS."""
    return f"""
SELECT * FROM (SELECT {key}, {summed()} FROM ({counted}
  UNION ALL SELECT {key}, {_NEGATED} FROM {table}
  WHERE tenant_id = $1 AND {at} >= $2 AND {at} < $3) AS both_ways GROUP BY {key}) AS difference
WHERE ({_IS_OFF})"""


_JOBS = of_jobs("j.tenant_id = $1 AND j.completed_at >= $2 AND j.completed_at < $3")
_WEBHOOKS = of_webhooks(_ATTEMPTS, "d.tenant_id = $1 AND a.started_at >= $2 AND a.started_at < $3")
# Of an hour that rows may have been pruned of, the roll-up knows more than the rows.
_HOURLY = f"""{_difference(KEY, "hour", f"{_JOBS} UNION ALL {_WEBHOOKS}", "usage_hourly")}
  AND hour > COALESCE((SELECT until FROM usage_horizon WHERE tenant_id = $1), '-infinity')"""

_DAY_OF_HOURS = f"""
SELECT tenant_id, date_trunc('day', hour, 'UTC') AS day, workflow, status, error_code, {summed()}
FROM usage_hourly WHERE tenant_id = $1 AND hour >= $2 AND hour < $3 GROUP BY {DAILY_KEY}"""
_DAILY = _difference(DAILY_KEY, "day", _DAY_OF_HOURS, "usage_daily")

_SHOWN = ", ".join(COUNTS)
_DRIFT = f"""
SELECT 'hourly', hour, workflow, status, error_code, batch_name, {_SHOWN} FROM ({_HOURLY}) AS h
UNION ALL
SELECT 'daily', day, workflow, status, error_code, '', {_SHOWN} FROM ({_DAILY}) AS d
ORDER BY 1 DESC, 2, 3, 4, 5, 6"""

_MEND_HOURLY = adding(_HOURLY)
_MEND_DAILY = upsert(
    "usage_daily",
    DAILY_KEY,
    f"SELECT {DAILY_KEY}, 0, {', '.join(SUMS)} FROM ({_DAILY}) AS d ORDER BY {DAILY_KEY}",
)

# Of these rows some are about to go; what ended with them or was tried stays counted.
_PRUNED = {
    "jobs": """
SELECT tenant_id, completed_at AS at FROM job WHERE id = ANY($1::uuid[]) UNION ALL
SELECT d.tenant_id, a.started_at FROM delivery d JOIN attempt a ON a.delivery_id = d.id
WHERE d.job_id = ANY($1::uuid[])""",
    "attempts": "SELECT tenant_id, started_at AS at FROM attempt WHERE delivery_id = ANY($1::uuid[])",
    "events": """
SELECT d.tenant_id, a.started_at AS at FROM delivery d JOIN attempt a ON a.delivery_id = d.id
WHERE d.event_id = ANY($1::uuid[])""",
}
_RAISE = """
INSERT INTO usage_horizon AS h
SELECT tenant_id, max(at) FROM ({pruned}) AS p WHERE at IS NOT NULL GROUP BY tenant_id
ON CONFLICT (tenant_id) DO UPDATE SET until = GREATEST(h.until, excluded.until)"""


class Drift(NamedTuple):
    """How much more the rows have than a roll-up; less than nothing where the roll-up has more.

    All counts are 0 where only the times of jobs differ.
    """

    roll_up: str
    at: datetime
    workflow: str
    status: str
    error_code: str
    batch_name: str
    jobs: int
    submitted: int
    retries: int
    webhooks_delivered: int
    webhooks_failed: int


async def days(tx: Tx, tenant_id: UUID) -> list[tuple[datetime, int]]:
    """The days on which a tenant has usage, and by about how many rows."""
    return [(row[0], row[1]) for row in await tx.rows(_DAYS, tenant_id)]


async def drift(tx: Tx, tenant_id: UUID, since: datetime, until: datetime) -> list[Drift]:
    """What differs in the days from..until: hours from the rows, days from their hours."""
    return [Drift(*row) for row in await tx.rows(_DRIFT, tenant_id, since, until)]


async def mend(tx: Tx, tenant_id: UUID, since: datetime, until: datetime) -> None:
    """Put right what differs in the days from..until; who does the same at once waits."""
    await tx.run("SELECT pg_advisory_xact_lock($1)", _MENDING)
    await tx.run(_MEND_HOURLY, tenant_id, since, until)
    await tx.run(_MEND_DAILY, tenant_id, since, until)


async def note_pruning(tx: Tx, kind: str, ids: Sequence[UUID]) -> None:
    """Note that these jobs, events, or attempts of these deliveries are pruned in this transaction.

    Other kinds are no part of usage.
    """
    if kind in _PRUNED:
        await tx.run(_RAISE.format(pruned=_PRUNED[kind]), list(ids))
