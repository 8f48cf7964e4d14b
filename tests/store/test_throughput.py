"""Throughput: sums of all processes by span, and how long they are kept."""

from collections import Counter
from datetime import datetime
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.core.histogram import RELATIVE_ERROR, quantiles
from gateway.flows.process.throughput import Throughput
from gateway.store import throughput
from gateway.store.database import Tx


def done(**counts: int) -> Throughput:
    made = Throughput(Counter(counts))
    made.note("job", "succeeded", 2.0, {"queue_seconds": 0.5, "upstream_seconds": 1.5})
    made.note("deliver", "delivered", 0.02, {})
    for outcome in ("answered", "limited", "failed"):
        made.note_call(outcome, 0.25)
    return made


async def add(tx: Tx, process: UUID, made: Throughput) -> None:
    await throughput.add(tx, process, made.counts, made.durations)


async def age(tx: Tx, interval: str) -> None:
    await tx.run(f"UPDATE throughput SET at = at - interval '{interval}'")


async def test_processes_and_heartbeats_add_up(tx: Tx) -> None:
    one, other = uuid7(), uuid7()
    for process in (one, one, other):
        await add(tx, process, done(accepted=2, refused=1))
    for step, spans in ((1, 60), (10, 144), (60, 168)):
        (span,) = await throughput.read(tx, step, spans)
        assert span[1:10] == (6, 3, 3, 0, 3, 0, 3, 3, 3)
        assert quantiles(span.run_histogram) == pytest.approx((1.5, 1.5, 1.5), RELATIVE_ERROR)
        assert quantiles(span.attempt_histogram) == pytest.approx((0.02,) * 3, RELATIVE_ERROR)
        assert quantiles(span.call_histogram) == pytest.approx((0.25,) * 3, RELATIVE_ERROR)
        assert span.at.second == span.at.minute % step == 0


async def test_a_process_that_did_nothing_writes_nothing(tx: Tx) -> None:
    await add(tx, uuid7(), Throughput())
    assert await tx.rows("SELECT 1 FROM throughput") == []


async def test_a_span_in_which_nothing_was_measured_has_no_quantiles(tx: Tx) -> None:
    await add(tx, uuid7(), Throughput(Counter(accepted=1)))
    (span,) = await throughput.read(tx, 1, 60)
    assert [quantiles(one) for one in span[-5:]] == [None] * 5


async def test_spans_before_the_window_are_left_out(tx: Tx) -> None:
    await add(tx, uuid7(), done())
    await age(tx, "61 minutes")
    assert await throughput.read(tx, 1, 60) == []
    assert len(await throughput.read(tx, 10, 144)) == 1


async def test_the_last_hour_is_compared_with_the_same_hour_yesterday(tx: Tx) -> None:
    await add(tx, uuid7(), done(accepted=4, failed=1))
    await age(tx, "24 hours 30 minutes")
    await add(tx, uuid7(), done(accepted=3, failed=2))
    await age(tx, "20 minutes")
    found = await throughput.totals(tx)
    assert found[:6] == (3, 1, 2, 4, 1, 1)
    assert found[6:9] == (1, 1, 1)
    assert quantiles(found.call_histogram) == pytest.approx((0.25,) * 3, RELATIVE_ERROR)


async def test_no_work_at_all_is_all_zeros(tx: Tx) -> None:
    found = await throughput.totals(tx)
    assert found[:9] == (0,) * 9
    assert quantiles(found.call_histogram) is None


async def test_rows_of_the_previous_version_have_no_calls(tx: Tx) -> None:
    await tx.run(
        "INSERT INTO throughput (step, at, process_id, accepted, refused, succeeded, failed, delivered,"
        " undelivered, wait_histogram, run_histogram, total_histogram, attempt_histogram)"
        " VALUES (1, now(), gen_random_uuid(), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)"
    )
    (span,) = await throughput.read(tx, 1, 60)
    assert span[1:10] == (1, *(0,) * 8)


async def test_minutes_are_kept_for_two_days_and_hours_for_weeks(tx: Tx) -> None:
    async def kept() -> list[int]:
        rows = await tx.rows("SELECT step FROM throughput ORDER BY step")
        return [row.step for row in rows]

    await add(tx, uuid7(), done())
    await age(tx, "47 hours")
    assert await throughput.forget(tx) == 0
    await age(tx, "61 minutes")
    assert (await throughput.forget(tx), await kept()) == (2, [60])
    await age(tx, "33 days")
    assert (await throughput.forget(tx), await kept()) == (1, [])


async def test_spans_begin_at_the_clock_of_postgres(tx: Tx) -> None:
    await add(tx, uuid7(), done())
    now: datetime = (await tx.one("SELECT now()"))[0]
    (span,) = await throughput.read(tx, 1, 60)
    assert span.at == now.replace(second=0, microsecond=0)
