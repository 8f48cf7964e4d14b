"""Throughput of all processes, in spans of 1, 10 and 60 minutes by the clock of Postgres.

Everything is a sum. Each process adds to rows of its own, so no two wait for each other.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core import histogram
from gateway.store.database import Tx
from gateway.store.statement import Query, Statement

# The lengths of the spans in minutes, and how long their rows are kept.
STEPS: Mapping[int, str] = {1: "48 hours", 10: "48 hours", 60: "35 days"}
_COUNTS = (
    *("accepted", "refused", "succeeded", "failed", "delivered", "undelivered"),
    *("calls_answered", "calls_limited", "calls_failed"),
)
_DURATIONS = ("wait", "run", "total", "attempt", "call")
_HISTOGRAMS = tuple(f"{name}_histogram" for name in _DURATIONS)
_SUMS = (*_COUNTS, *_HISTOGRAMS)


class ThroughputSpan(NamedTuple):
    """The sums of all processes for the span that begins at `at`; histograms in the binary format of numeric."""

    at: datetime
    accepted: int
    refused: int
    succeeded: int
    failed: int
    delivered: int
    undelivered: int
    calls_answered: int
    calls_limited: int
    calls_failed: int
    wait_histogram: bytes
    run_histogram: bytes
    total_histogram: bytes
    attempt_histogram: bytes
    call_histogram: bytes


class ThroughputTotals(NamedTuple):
    """Counts of the last hour, and of the same hour yesterday; calls of the upstream are of the last hour."""

    accepted: int
    succeeded: int
    failed: int
    accepted_yesterday: int
    succeeded_yesterday: int
    failed_yesterday: int
    calls_answered: int
    calls_limited: int
    calls_failed: int
    call_histogram: bytes


def _sum_of(place: int) -> str:
    return (
        f"COALESCE(sum(u.count * ('1e' || {histogram.DIGITS} * u.bucket)::numeric)"
        f" FILTER (WHERE u.kind = {place}), 0)"
    )


_START = "date_bin(s.step * interval '1 minute', now(), 'epoch')"
_ADD = Statement(
    f"""
WITH durations AS (
  SELECT {", ".join(f"{_sum_of(n)} AS {name}" for n, name in enumerate(_HISTOGRAMS))}
  FROM unnest(:kinds::int[], :buckets::int[], :numbers::bigint[]) AS u(kind, bucket, count))
INSERT INTO throughput AS t (step, at, process_id, {", ".join(_SUMS)})
SELECT s.step, {_START}, :process_id::uuid, {", ".join(f":{name}::bigint" for name in _COUNTS)},
  {", ".join(f"d.{name}" for name in _HISTOGRAMS)}
FROM unnest(ARRAY[{", ".join(map(str, STEPS))}]) AS s(step), durations d
ON CONFLICT (step, at, process_id) DO UPDATE
SET {", ".join(f"{name} = t.{name} + excluded.{name}" for name in _SUMS)}"""
)

_READ = Query(
    f"""
SELECT at, {", ".join(f"bigint_sum({name}) AS {name}" for name in _COUNTS)},
  {", ".join(f"numeric_send(histogram_sum({name})) AS {name}" for name in _HISTOGRAMS)}
FROM throughput WHERE step = :step
  AND at > now() - (:spans::int * :step::int) * interval '1 minute'
GROUP BY at ORDER BY at""",
    ThroughputSpan,
)


def _counted(name: str, when: str) -> str:
    return f"COALESCE(bigint_sum({name}) FILTER (WHERE {when}), 0)"


_TODAY, _YESTERDAY = "at > now() - interval '1 hour'", "at <= now() - interval '1 day'"
_JOBS, _CALLS = (
    ("accepted", "succeeded", "failed"),
    ("calls_answered", "calls_limited", "calls_failed"),
)
_TOTALS = Query(
    f"""
SELECT {", ".join(f"{_counted(name, _TODAY)} AS {name}" for name in _JOBS)},
  {", ".join(f"{_counted(name, _YESTERDAY)} AS {name}_yesterday" for name in _JOBS)},
  {", ".join(f"{_counted(name, _TODAY)} AS {name}" for name in _CALLS)},
  numeric_send(COALESCE(histogram_sum(call_histogram) FILTER (WHERE {_TODAY}), 0)) AS call_histogram
FROM throughput WHERE step = 1 AND (at > now() - interval '1 hour'
  OR at > now() - interval '25 hours' AND at <= now() - interval '1 day')""",
    ThroughputTotals,
)

_KEEP = Statement(
    "DELETE FROM throughput WHERE "
    + " OR ".join(
        f"step = {step} AND at < now() - interval '{kept}'" for step, kept in STEPS.items()
    )
)


async def add(
    tx: Tx,
    process_id: UUID,
    counts: Mapping[str, int],
    durations: Mapping[tuple[str, int], int],
) -> None:
    """Add to the spans of this moment what a process did; nothing is written if it did nothing.

    Counts are by name, durations by name and bucket.
    """
    if not counts and not durations:
        return
    await _ADD.run(
        tx,
        process_id=process_id,
        kinds=[_DURATIONS.index(name) for name, _ in durations],
        buckets=[bucket for _, bucket in durations],
        numbers=list(durations.values()),
        **{name: counts.get(name, 0) for name in _COUNTS},
    )


async def read(tx: Tx, step: int, spans: int) -> Sequence[ThroughputSpan]:
    """The last spans of `step` minutes in which anything was done, oldest first; the newest is under way."""
    return await _READ.rows(tx, step=step, spans=spans)


async def totals(tx: Tx) -> ThroughputTotals:
    """The counts of the last hour beside those of the same hour yesterday."""
    return await _TOTALS.one(tx)


async def forget(tx: Tx) -> int:
    """Drop spans that are older than they are kept; returns how many rows."""
    return await _KEEP.run(tx)
