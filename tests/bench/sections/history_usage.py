"""Usage of 30 days by day, workflow and status, beside the same sums over the jobs themselves.

Whole days come from the roll-up of days. Where the first and last hour lie within a day, as of one
who asks for the last 720 hours, up to two days come from the larger one of hours.
"""

import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg

from gateway.core.model import STATE_STATUS
from tests.bench.harness.parts import Running

_DAYS = 30
_WARM_UP = 5
_RAW_SAMPLES = 20

_WORDS = " ".join(f"WHEN '{state}' THEN '{status}'" for state, status in STATE_STATUS.items())
# No percentiles, which would cost more.
_RAW = f"""
SELECT date_trunc('day', completed_at, 'UTC') AS day, workflow, CASE state {_WORDS} END AS status,
  count(*) AS jobs, sum(submit_attempts), avg(submitted_at - created_at),
  avg(completed_at - started_at), avg(completed_at - created_at)
FROM job WHERE tenant_id = $1 AND completed_at >= $2 GROUP BY 1, 2, 3"""


async def measure(api: Running, key: str, url: str, tenant: UUID, samples: int) -> dict[str, Any]:
    """Milliseconds of an answer of the API, and of Postgres over the rows; raises RuntimeError."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    since = hour.replace(hour=0) - timedelta(days=_DAYS - 1)
    days = {"groupBy": "day,workflow,status", "from": since.isoformat()}
    hours = {**days, "from": (hour - timedelta(days=_DAYS)).isoformat(), "to": hour.isoformat()}
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    headers = {"Authorization": key}
    try:
        # A client that costs little beside the answer.
        async with aiohttp.ClientSession(api.url, headers=headers, raise_for_status=True) as client:
            usage = json.loads(await _ask(client, days))["rows"]
            ours = await _times(lambda: _ask(client, days), samples)
            within = await _times(lambda: _ask(client, hours), samples)
        raw = await connection.fetch(_RAW, tenant, since)
        theirs = await _times(lambda: connection.fetch(_RAW, tenant, since), _RAW_SAMPLES)
    finally:
        await connection.close()
    jobs = sum(row["jobs"] for row in usage)
    if jobs != sum(row["jobs"] for row in raw):
        raise RuntimeError(f"usage tells of {jobs} jobs, the rows of another number")
    return {
        "jobs": jobs,
        "groups": len(usage),
        "p50Ms": _share(ours, 0.5),
        "p99Ms": _share(ours, 0.99),
        "byHourP50Ms": _share(within, 0.5),
        "rawP50Ms": _share(theirs, 0.5),
        "toRaw": round(_share(ours, 0.5) / _share(theirs, 0.5), 3),
    }


async def _ask(client: aiohttp.ClientSession, what: dict[str, str]) -> bytes:
    async with client.get("/v1/usage", params=what) as answer:
        return await answer.read()


async def _times(ask: Callable[[], Awaitable[object]], samples: int) -> list[float]:
    times: list[float] = []
    for _ in range(_WARM_UP + samples):
        began = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times[_WARM_UP:])


def _share(ordered: list[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 2)
