"""The roll-ups: what ended jobs and their webhooks add, concurrent writers, and how they are read."""

import itertools
import json
import math
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.core.histogram import FINEST_SECONDS, QUANTILES, RELATIVE_ERROR, quantiles
from gateway.store.database import Database, Tx
from gateway.store.usage import read as usage_read
from gateway.store.usage import rollups
from gateway.store.usage.read import Sums
from gateway.store.usage.rollups import of_jobs
from tests.builders import add_jobs, add_tenant, put
from tests.store.blocking import blocked

AT = datetime(2026, 3, 4, 5, 30, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def add_ended(
    tx: Tx,
    tenant: UUID,
    at: datetime = AT,
    *,
    count: int = 1,
    wait: float | None = 1.0,
    run: float = 10.0,
    code: str | None = None,
    state: str = "succeeded",
    **fields: Any,
) -> list[UUID]:
    """Add jobs that ended at `at`, and do not count them; without a wait they were never submitted."""
    ids = await add_jobs(tx, tenant, count, **fields)
    submitted = at - timedelta(seconds=run)
    for id_ in ids:
        await put(
            tx,
            "job",
            id_,
            state=state,
            completed_at=at,
            submitted_at=None if wait is None else submitted,
            created_at=submitted - timedelta(seconds=wait or 0),
            error=json.dumps({"code": code}) if code else None,
        )
    return ids


async def count_ended(tx: Tx, *args: Any, **kwargs: Any) -> None:
    await rollups.add_jobs(tx, await add_ended(tx, *args, **kwargs))


async def read(
    tx: Tx,
    *group_by: str,
    tenants: Sequence[UUID] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Sums]:
    return await usage_read.read(tx, group_by, tenants, since, until, limit=1000)


async def jobs_by(tx: Tx, *group_by: str, **how: Any) -> list[tuple[object, ...]]:
    return [(*sums.group, sums.jobs) for sums in await read(tx, *group_by, **how)]


async def test_a_job_adds_its_outcome_and_its_times(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    await count_ended(tx, tenant, count=3, wait=2.0, run=30.0)
    await count_ended(tx, tenant, state="failed", code="X", run=8.0, retry_of=tenant)
    await count_ended(tx, tenant, state="expired", code="Y", wait=None, run=100.0)
    (sums,) = await read(tx)
    assert (sums.jobs, sums.succeeded) == (5, 3)
    assert sorted(zip(sums.codes, sums.code_jobs, strict=True)) == [("X", 1), ("Y", 1)]
    assert (sums.submitted, sums.retries) == (4, 1)
    # What was never submitted has waited all its life, and has not run.
    assert sums.wait_microseconds == (3 * 2 + 1 + 100) * 10**6
    assert sums.run_microseconds == (3 * 30 + 8) * 10**6
    assert sums.total_microseconds == (3 * 32 + 9 + 100) * 10**6
    near = pytest.approx
    assert quantiles(sums.wait_histogram) == near((2.0, 100.0, 100.0), rel=RELATIVE_ERROR)
    assert quantiles(sums.run_histogram) == near((30.0, 30.0, 30.0), rel=RELATIVE_ERROR)
    assert quantiles(sums.total_histogram) == near((32.0, 100.0, 100.0), rel=RELATIVE_ERROR)


async def test_clocks_that_disagree_add_no_negative_time(tx: Tx) -> None:
    await count_ended(tx, await add_tenant(tx), wait=-5.0, run=-7.0)
    (sums,) = await read(tx)
    assert (sums.wait_microseconds, sums.run_microseconds, sums.total_microseconds) == (0, 0, 0)
    assert quantiles(sums.total_histogram) == (0, 0, 0)


async def test_a_job_that_has_not_ended_adds_nothing(tx: Tx) -> None:
    await rollups.add_jobs(tx, await add_jobs(tx, await add_tenant(tx), 3))
    assert await jobs_by(tx) == [(0,)]
    assert await read(tx, "status") == []


async def test_a_long_error_code_is_cut(tx: Tx) -> None:
    for tail in ("a", "b"):
        await count_ended(tx, await add_tenant(tx), state="failed", code="x" * 5000 + tail)
    assert await jobs_by(tx, "errorCode") == [("x" * 100, 2)]


async def test_percentiles_are_within_the_documented_error(tx: Tx) -> None:
    """Log-uniform from 1 ms to 2 years, through the statement that settles jobs."""
    tenant, rng = await add_tenant(tx), random.Random(7)
    ids = await add_jobs(tx, tenant, 300)
    runs = [FINEST_SECONDS * math.exp(rng.uniform(0, 24.8)) for _ in ids]
    await tx.run(
        "UPDATE job SET state = 'succeeded', created_at = $3::timestamptz, submitted_at = $3::timestamptz,"
        " completed_at = $3::timestamptz + u.run * interval '1 second', name = u.run::text"
        " FROM unnest($1::uuid[], $2::float8[]) AS u(id, run) WHERE job.id = u.id",
        ids,
        runs,
        AT,
    )
    for id_, run in zip(ids, runs, strict=True):
        (row,) = await tx.rows(
            f"SELECT run_microseconds / 1e6::float8, numeric_send(run_histogram) FROM ({of_jobs('j.id = $1')})",
            id_,
        )
        assert quantiles(row[1]) == pytest.approx((row[0],) * 3, rel=RELATIVE_ERROR + 1e-5)
        assert row[0] == pytest.approx(run, abs=2e-6)
    await rollups.add_jobs(tx, ids)
    (sums,) = await read(tx)
    exact = [sorted(runs)[math.ceil(one * len(runs)) - 1] for one in QUANTILES]
    assert quantiles(sums.run_histogram) == pytest.approx(exact, rel=RELATIVE_ERROR + 1e-5)


# --- Reading ------------------------------------------------------------------------------------


async def test_usage_is_summed_by_each_group(tx: Tx) -> None:
    one, other = await add_tenant(tx), await add_tenant(tx)
    await count_ended(tx, one, count=2, batch_name="b")
    await count_ended(tx, one, state="failed", code="X")
    await count_ended(tx, one, AT + HOUR, workflow="v")
    await count_ended(tx, one, AT + DAY, batch_name="c")
    await count_ended(tx, other, AT + 40 * DAY, count=4)
    slugs = [f"t-{id_.hex}" for id_ in (one, other)]
    hour, late = AT.replace(minute=0), (AT + 40 * DAY).replace(minute=0)
    day, month = AT.replace(hour=0, minute=0), AT.replace(day=1, hour=0, minute=0)
    expected: dict[tuple[str, ...], list[tuple[object, ...]]] = {
        (): [(9,)],
        ("tenant",): [(slugs[0], 5), (slugs[1], 4)],
        ("workflow",): [("flow", 8), ("v", 1)],
        ("status", "errorCode"): [("FAILED", "X", 1), ("SUCCEEDED", "", 8)],
        ("batch",): [("", 6), ("b", 2), ("c", 1)],
        ("hour", "status"): [
            (hour, "FAILED", 1),
            (hour, "SUCCEEDED", 2),
            (hour + HOUR, "SUCCEEDED", 1),
            (hour + DAY, "SUCCEEDED", 1),
            (late, "SUCCEEDED", 4),
        ],
        ("day",): [(day, 4), (day + DAY, 1), (late.replace(hour=0), 4)],
        ("month", "tenant"): [
            (month, slugs[0], 5),
            (late.replace(day=1, hour=0), slugs[1], 4),
        ],
    }
    for group_by, rows in expected.items():
        assert await jobs_by(tx, *group_by) == rows, group_by
    assert set(usage_read.GROUPS) == set(itertools.chain.from_iterable(expected))


async def test_usage_of_some_tenants_and_hours(tx: Tx) -> None:
    one, other = await add_tenant(tx), await add_tenant(tx)
    hour = AT.replace(minute=0)
    for hours in range(4):
        await count_ended(tx, one, AT + hours * HOUR, count=2**hours)
        await count_ended(tx, other, AT + hours * HOUR, count=5)
    since, until = hour + HOUR, hour + 3 * HOUR

    async def total(**how: Any) -> object:
        return (await jobs_by(tx, **how))[0][0]

    assert await total(tenants=[one]) == 15
    assert await total(tenants=[one], since=since, until=until) == 6
    assert await total(tenants=[one], since=since) == 14
    assert await total(tenants=[one], until=until) == 7
    assert await total(tenants=[one, other], since=since, until=until) == 16
    assert await total(tenants=[]) == 0
    assert await read(tx, "status", tenants=[]) == []


async def test_every_span_is_read_from_days_and_from_the_hours_at_its_ends(tx: Tx) -> None:
    tenant, start = await add_tenant(tx), AT.replace(hour=0, minute=0)
    for hours in range(0, 4 * 24, 3):
        await count_ended(tx, tenant, start + hours * HOUR)
    ends = [None, *(start + hours * HOUR for hours in (0, 1, 24, 25, 47, 48, 71, 96, 99))]
    for since, until in itertools.product(ends, ends):
        hours = range(0, 4 * 24, 3)
        inside = [
            h
            for h in hours
            if (since is None or start + h * HOUR >= since)
            and (until is None or start + h * HOUR < until)
        ]
        assert await jobs_by(tx, since=since, until=until) == [(len(inside),)], (since, until)


async def test_groups_are_read_up_to_the_limit(tx: Tx) -> None:
    await count_ended(tx, await add_tenant(tx))
    await count_ended(tx, await add_tenant(tx))
    assert len(await usage_read.read(tx, ["tenant"], None, None, None, limit=1)) == 1


async def test_usage_of_an_erased_tenant_is_shown_as_deleted(tx: Tx) -> None:
    for _ in range(2):
        tenant = await add_tenant(tx, credential=False)
        await count_ended(tx, tenant)
        await tx.run("DELETE FROM tenant WHERE id = $1", tenant)
    kept = await add_tenant(tx)
    await count_ended(tx, kept)
    assert await jobs_by(tx, "tenant") == [("(deleted)", 2), (f"t-{kept.hex}", 1)]


async def test_a_group_that_was_repaired_to_zero_is_not_shown(tx: Tx) -> None:
    await count_ended(tx, await add_tenant(tx))
    await tx.run("UPDATE usage_daily SET jobs = 0")
    assert await jobs_by(tx, "status") == []


# --- Concurrency --------------------------------------------------------------------------------


async def test_a_second_writer_does_not_wait(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        first, second = [await add_ended(tx, tenant) for _ in range(2)]
    async with db.begin() as one, db.begin() as other:
        await rollups.add_jobs(one, first)
        await rollups.add_jobs(other, second)
    async with db.begin() as tx:
        shards = await tx.rows("SELECT shard, jobs FROM usage_daily ORDER BY shard")
        assert [row.jobs for row in shards] == [1, 1]
        assert shards[0].shard == 0 < shards[1].shard
        assert await jobs_by(tx) == [(2,)]


async def test_a_single_writer_uses_one_shard(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
    for _ in range(3):
        async with db.begin() as tx:
            await count_ended(tx, tenant)
    async with db.begin() as tx:
        assert [row[0] for row in await tx.rows("SELECT jobs FROM usage_hourly")] == [3]


@asynccontextmanager
async def of_one_shard(db: Database) -> AsyncIterator[list[tuple[AsyncExitStack, Tx]]]:
    """Two transactions that would use the same shard, each with the stack that commits it."""
    async with AsyncExitStack() as stack:
        shards: defaultdict[int, list[tuple[AsyncExitStack, Tx]]] = defaultdict(list)
        while all(len(those) < 2 for those in shards.values()):
            own = await stack.enter_async_context(AsyncExitStack())
            tx = await own.enter_async_context(db.begin())
            shards[(await tx.one("SELECT pg_backend_pid() % 3"))[0]].append((own, tx))
        for those in shards.values():
            if len(those) < 2:
                await those[0][0].aclose()
        yield next(those for those in shards.values() if len(those) == 2)


async def test_writers_of_the_same_rows_in_any_order_do_not_deadlock(db: Database) -> None:
    async with db.begin() as tx:
        owners = sorted([await add_tenant(tx), await add_tenant(tx)])
        (low, low_too, low_first), (high, high_too, high_first) = [
            await add_ended(tx, owner, count=3) for owner in owners
        ]
    async with db.begin() as first:
        await rollups.add_jobs(first, [low_first, high_first])
        async with of_one_shard(db) as ((end, one), (_, other)):
            await rollups.add_jobs(one, [low])
            adding = await blocked(db, rollups.add_jobs(other, [high_too, low_too]))
            # It waits for the first row and holds no other.
            await rollups.add_jobs(one, [high])
            await end.aclose()
            await adding
    async with db.begin() as tx:
        assert await jobs_by(tx) == [(6,)]
