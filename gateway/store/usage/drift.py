"""Drift of the usage roll-ups: how they differ from a new count of the rows, and its repair.

A difference has the form of a row of a roll-up. So adding it repairs the roll-up, even while other transactions
add to it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Query, Statement
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

# The key of the advisory lock that a repair takes.
_REPAIR = 7_203_115_491
_NEGATED = ", ".join(f"-{name} AS {name}" for name in SUMS)
_DIFFERS = " OR ".join(f"{name} <> 0" for name in SUMS)
_ATTEMPTS = "delivery d JOIN attempt a ON a.delivery_id = d.id"

_DAYS = Statement(
    f"""
SELECT day, sum(rows)::bigint AS rows FROM (
  SELECT date_trunc('day', completed_at, 'UTC') AS day, count(*) AS rows FROM job
  WHERE tenant_id = :tenant_id AND completed_at IS NOT NULL GROUP BY day
  UNION ALL SELECT date_trunc('day', a.started_at, 'UTC') AS day, count(*) FROM {_ATTEMPTS}
  WHERE d.tenant_id = :tenant_id GROUP BY day
  UNION ALL SELECT date_trunc('day', hour, 'UTC') AS day, 0 FROM usage_hourly
  WHERE tenant_id = :tenant_id GROUP BY day
  UNION ALL SELECT day, 0 FROM usage_daily WHERE tenant_id = :tenant_id GROUP BY day) AS d
GROUP BY day ORDER BY day"""
)


def _difference(key: str, at: str, counted: str, table: str) -> str:
    """How much more the rows have than a roll-up, from :since until :until, as rows of a key and SUMS."""
    return f"""
SELECT * FROM (SELECT {key}, {summed()} FROM ({counted}
  UNION ALL SELECT {key}, {_NEGATED} FROM {table}
  WHERE tenant_id = :tenant_id AND {at} >= :since AND {at} < :until) AS counts GROUP BY {key}) AS difference
WHERE ({_DIFFERS})"""


_JOBS = of_jobs("j.tenant_id = :tenant_id AND j.completed_at >= :since AND j.completed_at < :until")
_WEBHOOKS = of_webhooks(
    _ATTEMPTS, "d.tenant_id = :tenant_id AND a.started_at >= :since AND a.started_at < :until"
)
# Rows of an hour before the horizon may have been pruned, so there the roll-up knows more than the rows.
_HOURLY = f"""{_difference(KEY, "hour", f"{_JOBS} UNION ALL {_WEBHOOKS}", "usage_hourly")}
  AND hour > COALESCE((SELECT until FROM usage_horizon WHERE tenant_id = :tenant_id), '-infinity')"""

_DAY_OF_HOURS = f"""
SELECT tenant_id, date_trunc('day', hour, 'UTC') AS day, workflow, status, error_code, {summed()}
FROM usage_hourly WHERE tenant_id = :tenant_id AND hour >= :since AND hour < :until GROUP BY {DAILY_KEY}"""
_DAILY = _difference(DAILY_KEY, "day", _DAY_OF_HOURS, "usage_daily")

_SHOWN = ", ".join(COUNTS)


class Drift(NamedTuple):
    """How much more the rows have than a roll-up; negative where the roll-up has more.

    All counts are 0 where only the durations of jobs differ.
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


_DRIFT = Query(
    f"""
SELECT 'hourly' AS roll_up, hour AS at, workflow, status, error_code, batch_name, {_SHOWN} FROM ({_HOURLY}) AS h
UNION ALL
SELECT 'daily', day, workflow, status, error_code, '', {_SHOWN} FROM ({_DAILY}) AS d
ORDER BY 1 DESC, 2, 3, 4, 5, 6""",
    Drift,
)

_LOCK = Statement("SELECT pg_advisory_xact_lock(:key)")
_REPAIR_HOURLY = Statement(adding(_HOURLY))
_REPAIR_DAILY = Statement(
    upsert(
        "usage_daily",
        DAILY_KEY,
        f"SELECT {DAILY_KEY}, 0, {', '.join(SUMS)} FROM ({_DAILY}) AS d ORDER BY {DAILY_KEY}",
    )
)

# The times under which the rows that are about to be pruned were counted. They stay counted.
_PRUNED = {
    "jobs": """
SELECT tenant_id, completed_at AS at FROM job WHERE id = ANY(:ids::uuid[]) UNION ALL
SELECT d.tenant_id, a.started_at FROM delivery d JOIN attempt a ON a.delivery_id = d.id
WHERE d.job_id = ANY(:ids::uuid[])""",
    "attempts": "SELECT tenant_id, started_at AS at FROM attempt WHERE delivery_id = ANY(:ids::uuid[])",
    "events": """
SELECT d.tenant_id, a.started_at AS at FROM delivery d JOIN attempt a ON a.delivery_id = d.id
WHERE d.event_id = ANY(:ids::uuid[])""",
}
_RAISE = {
    kind: Statement(
        f"""
INSERT INTO usage_horizon AS h
SELECT tenant_id, max(at) FROM ({pruned}) AS p WHERE at IS NOT NULL GROUP BY tenant_id
ON CONFLICT (tenant_id) DO UPDATE SET until = GREATEST(h.until, excluded.until)"""
    )
    for kind, pruned in _PRUNED.items()
}


async def days(tx: Tx, tenant_id: UUID) -> list[tuple[datetime, int]]:
    """The days on which a tenant has usage, and about how many rows each has."""
    return [(row.day, row.rows) for row in await _DAYS.rows(tx, tenant_id=tenant_id)]


async def drift(tx: Tx, tenant_id: UUID, since: datetime, until: datetime) -> list[Drift]:
    """The differences in the days since..until: hours against the rows, days against their hours."""
    return await _DRIFT.rows(tx, tenant_id=tenant_id, since=since, until=until)


async def repair(tx: Tx, tenant_id: UUID, since: datetime, until: datetime) -> None:
    """Repair the differences in the days since..until; repairs wait for each other by an advisory lock."""
    await _LOCK.run(tx, key=_REPAIR)
    await _REPAIR_HOURLY.run(tx, tenant_id=tenant_id, since=since, until=until)
    await _REPAIR_DAILY.run(tx, tenant_id=tenant_id, since=since, until=until)


async def note_pruning(tx: Tx, kind: str, ids: Sequence[UUID]) -> None:
    """Raise the horizon of usage for jobs, events, or attempts of deliveries that are pruned now.

    Other kinds are not counted in usage.
    """
    if kind in _RAISE:
        await _RAISE[kind].run(tx, ids=list(ids))
