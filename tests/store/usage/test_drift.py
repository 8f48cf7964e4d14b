"""Drift: differences between roll-ups and rows are found and repaired."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import Database, Tx
from gateway.store.usage import drift as usage_drift
from gateway.store.usage import rollups
from gateway.store.usage.drift import Drift
from gateway.store.webhooks import attempts
from gateway.store.work import settlement
from gateway.store.work.settlement import NewDelivery, NewEvent
from tests.builders import add_tenant, attempt_of
from tests.store.blocking import blocked
from tests.store.usage.test_rollups import AT, DAY, HOUR, add_ended, count_ended, jobs_by

START = AT.replace(hour=0, minute=0)
END = START + DAY


async def drift(tx: Tx, tenant: UUID) -> list[Drift]:
    return await usage_drift.drift(tx, tenant, START, END)


async def repaired(tx: Tx, tenant: UUID) -> list[Drift]:
    await usage_drift.repair(tx, tenant, START, END)
    return await drift(tx, tenant)


async def add_tried(
    tx: Tx, tenant: UUID, job_id: UUID, kind: str = "job.succeeded", *, status: int = 200
) -> tuple[UUID, int]:
    """Add a delivery about a job that ended with its third attempt, and do not count it."""
    event, delivery = uuid7(), uuid7()
    await settlement.add_events(tx, [NewEvent(event, tenant, job_id, kind, "{}")])
    owed = NewDelivery(delivery, tenant, event, job_id, uuid7(), None, uuid7(), "delivered")
    await settlement.add_deliveries(tx, [owed])
    failure = None if status == 200 else "http_5xx"
    tried = attempt_of(3, started_at=AT, status=status, error_class=failure)
    token = uuid4()
    await attempts.add(tx, [attempts.Recorded(delivery, tenant, token, "delivered", 0.0, tried)])
    return delivery, 3


async def webhooks_by(tx: Tx) -> list[tuple[str, str, int, int]]:
    rows = await tx.rows(
        "SELECT status, error_code, webhooks_delivered, webhooks_failed FROM usage_daily"
        " ORDER BY 1, 2"
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


async def test_webhooks_are_counted_under_their_job(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (good,) = await add_ended(tx, tenant)
    (bad,) = await add_ended(tx, tenant, state="failed", code="X")
    ended = [
        await add_tried(tx, tenant, good, "job.started"),
        await add_tried(tx, tenant, good),
        await add_tried(tx, tenant, good, status=500),
        await add_tried(tx, tenant, bad, "job.started", status=500),
        await add_tried(tx, tenant, bad, "job.deleted"),
    ]
    await rollups.add_webhooks(tx, ended)
    # A webhook about a start comes before the job has an outcome.
    assert await webhooks_by(tx) == [
        ("FAILED", "X", 1, 0),
        ("STARTED", "", 1, 1),
        ("SUCCEEDED", "", 1, 1),
    ]
    await rollups.add_jobs(tx, [good, bad])
    assert await drift(tx, tenant) == []


async def test_rows_that_were_not_counted_are_found_and_added(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    jobs = await add_ended(tx, tenant, count=3, batch_name="b")
    await add_tried(tx, tenant, jobs[0])
    hour = AT.replace(minute=0)
    lacking = (3, 3, 0, 1, 0)
    # Days are compared with their hours, which lack the same rows.
    assert await drift(tx, tenant) == [
        Drift("hourly", hour, "flow", "SUCCEEDED", "", "b", *lacking)
    ]
    assert await repaired(tx, tenant) == []
    assert await jobs_by(tx, "day", "status") == [(START, "SUCCEEDED", 3)]
    assert await jobs_by(tx, "batch") == [("b", 3)]


async def test_rows_that_were_counted_twice_are_found_and_subtracted(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_ended(tx, tenant, count=2)
    await rollups.add_jobs(tx, ids)
    await rollups.add_jobs(tx, ids[:1])
    (found,) = await drift(tx, tenant)
    assert (found.roll_up, found.jobs, found.submitted) == ("hourly", -1, -1)
    assert await repaired(tx, tenant) == []
    assert await jobs_by(tx) == [(2,)]


@pytest.mark.parametrize(
    "column", ["wait_microseconds", "run_histogram", "jobs", "webhooks_failed"]
)
async def test_a_day_that_differs_from_its_hours_is_repaired(tx: Tx, column: str) -> None:
    tenant = await add_tenant(tx)
    await count_ended(tx, tenant)
    await tx.run(f"UPDATE usage_daily SET {column} = {column} + 7")
    (found,) = await drift(tx, tenant)
    assert (found.roll_up, found.at) == ("daily", START)
    assert (found.jobs, found.webhooks_failed) == (
        -7 * (column == "jobs"),
        -7 * (column == "webhooks_failed"),
    )
    assert await repaired(tx, tenant) == []


async def test_rows_outside_of_the_days_are_not_compared(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    for at in (START - timedelta(seconds=1), END):
        await add_ended(tx, tenant, at)
    await add_ended(tx, other)
    assert await drift(tx, tenant) == []
    assert await repaired(tx, tenant) == []
    assert await jobs_by(tx) == [(0,)]


async def test_days_with_rows_and_days_with_roll_ups_are_listed(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = await add_ended(tx, tenant, count=2)
    await count_ended(tx, tenant, AT + DAY)
    await add_ended(tx, tenant, AT + 9 * DAY)
    await add_tried(tx, tenant, ids[0])
    await tx.run("UPDATE usage_daily SET day = day + interval '3 days'")
    await tx.run("UPDATE usage_hourly SET hour = hour + interval '5 days'")
    expected = {0: 3, 1: 1, 4: 0, 6: 0, 9: 1}
    assert await usage_drift.days(tx, tenant) == [
        (START + days * DAY, rows) for days, rows in expected.items()
    ]


# --- Pruning ------------------------------------------------------------------------------------


async def prune(tx: Tx, kind: str, table: str, column: str, ids: Sequence[UUID]) -> None:
    await usage_drift.note_pruning(tx, kind, ids)
    await tx.run(f"DELETE FROM {table} WHERE {column} = ANY($1::uuid[])", list(ids))


async def test_pruned_jobs_stay_counted_and_are_no_drift(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    for hours in range(3):
        await count_ended(tx, tenant, AT + hours * HOUR)
    old = await tx.one("SELECT id FROM job ORDER BY completed_at OFFSET 1")
    await prune(tx, "jobs", "job", "id", [old.id])
    assert await repaired(tx, tenant) == []
    assert await jobs_by(tx) == [(3,)]
    # After the last hour with a pruned row, hours are compared as before.
    await tx.run("UPDATE usage_hourly SET jobs = 9 WHERE hour > $1", AT + HOUR)
    assert {(one.roll_up, one.jobs) for one in await drift(tx, tenant)} == {
        ("hourly", -8),
        ("daily", 8),
    }


@pytest.mark.parametrize(
    ("kind", "table", "column", "of"),
    [
        ("jobs", "job", "id", "job_id"),
        ("attempts", "attempt", "delivery_id", "id"),
        ("events", "event", "id", "event_id"),
    ],
)
async def test_webhooks_of_pruned_rows_stay_counted(
    tx: Tx, kind: str, table: str, column: str, of: str
) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_ended(tx, tenant, AT - 3 * HOUR)
    await rollups.add_jobs(tx, [job_id])
    ended = await add_tried(tx, tenant, job_id)
    await rollups.add_webhooks(tx, [ended])
    assert await drift(tx, tenant) == []
    delivery = await tx.one(f"SELECT {of} FROM delivery WHERE id = $1", ended[0])
    await prune(tx, kind, table, column, [delivery[0]])
    assert await repaired(tx, tenant) == []
    assert await webhooks_by(tx) == [("SUCCEEDED", "", 1, 0)]


async def test_each_tenant_has_a_horizon_that_only_rises(tx: Tx) -> None:
    one, other = await add_tenant(tx), await add_tenant(tx)
    late, early = await add_ended(tx, one, AT + DAY), await add_ended(tx, one)
    theirs = await add_ended(tx, other)
    for ids in (late, early, theirs):
        await prune(tx, "jobs", "job", "id", ids)
    rows = await tx.rows("SELECT tenant_id, until FROM usage_horizon ORDER BY tenant_id")
    assert [(row.tenant_id, row.until) for row in rows] == sorted([(one, AT + DAY), (other, AT)])
    await usage_drift.note_pruning(tx, "payloads", theirs)
    assert len(await tx.rows("SELECT 1 FROM usage_horizon")) == 2


# --- Concurrency --------------------------------------------------------------------------------


async def test_a_job_that_ends_during_a_repair_is_counted_once(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        first, second = await add_ended(tx, tenant, count=2)
        await rollups.add_jobs(tx, [first])
        await tx.run("UPDATE usage_hourly SET jobs = 5")
        await tx.run("UPDATE job SET state = 'running' WHERE id = $1", second)

    async def repair() -> None:
        async with db.begin() as tx:
            await usage_drift.repair(tx, tenant, START, END)

    async with db.begin() as tx:
        await tx.run("UPDATE job SET state = 'succeeded' WHERE id = $1", second)
        await rollups.add_jobs(tx, [second])
        repairing = await blocked(db, repair())
    await repairing
    async with db.begin() as tx:
        assert await drift(tx, tenant) == []
        assert await jobs_by(tx) == [(2,)]


async def test_two_repairs_at_once_repair_once(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        await add_ended(tx, tenant)

    async def repair() -> None:
        async with db.begin() as tx:
            await usage_drift.repair(tx, tenant, START, END)

    async with db.begin() as tx:
        await usage_drift.repair(tx, tenant, START, END)
        repairing = await blocked(db, repair())
    await repairing
    async with db.begin() as tx:
        assert await jobs_by(tx) == [(1,)]
