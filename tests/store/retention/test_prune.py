"""Pruning: which rows are found, what is deleted, and how the cursor moves."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import Tx
from gateway.store.job_search import lists
from gateway.store.job_search.lists import NewNote
from gateway.store.retention import prune
from gateway.store.retention.prune import Keeping
from gateway.store.retention.rules import RULES
from gateway.store.tenancy import tenants
from gateway.store.webhooks import attempts
from gateway.store.webhooks.attempts import Recorded
from gateway.store.work import bulk_operations, settlement
from gateway.store.work.settlement import NewDelivery
from tests.builders import add_event, add_jobs, add_tenant, attempt_of, id_at, put, row_of

START = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = UUID(int=0)


def day(number: int) -> UUID:
    """An id as of a day."""
    return id_at(START + timedelta(days=number))


def before(number: int) -> UUID:
    """The id before all ids of a day."""
    return UUID(int=int((START + timedelta(days=number)).timestamp() * 1000) << 80)


async def add_ended(tx: Tx, tenant: UUID, number: int, **fields: Any) -> UUID:
    """Add a job of a day that has succeeded."""
    given: dict[str, Any] = {"params": '{"in":1}', "copy_results_to": '{"out":"x"}'} | fields
    (job_id,) = await add_jobs(tx, tenant, id=day(number), **given)
    await put(tx, "job", job_id, state="succeeded", result='{"r":1}', completed_at=0)
    return job_id


async def add_old_event(tx: Tx, tenant: UUID, number: int) -> UUID:
    """Add an event of a day; its id does not contain the day."""
    event_id = await add_event(tx, tenant, id=uuid4())
    await put(tx, "event", event_id, created_at=START + timedelta(days=number))
    return event_id


async def add_owed(
    tx: Tx, tenant: UUID, event_id: UUID, number: int, state: str = "delivered"
) -> UUID:
    """Add a delivery of a day with two attempts."""
    delivery, lane = day(number), uuid4()
    owed = NewDelivery(delivery, tenant, event_id, None, lane, None, lane, state)
    await settlement.add_deliveries(tx, [owed])
    for tried in (1, 2):
        recorded = Recorded(delivery, tenant, uuid4(), state, 0.0, attempt_of(tried))
        await attempts.add(tx, [recorded])
    return delivery


async def add_operation(tx: Tx, tenant: UUID, day: int) -> UUID:
    """Add a bulk operation that ended on a day."""
    more: dict[str, Any] = {"kind": "resend", "endpoint_id": None, "filter_": "{}", "until": None}
    made = await bulk_operations.add(tx, uuid7(), tenant, total=0, most=9, **more)
    assert made is not None
    await put(tx, "bulk", made.id, completed_at=START + timedelta(days=day))
    return made.id


async def find(tx: Tx, tenant: UUID, kind: str, until: int = 99, limit: int = 99) -> Sequence[UUID]:
    after = await prune.cursor(tx, tenant, kind)
    return await prune.next_rows(tx, tenant, kind, after=after, before=before(until), limit=limit)


async def drop(tx: Tx, tenant: UUID, way: str, ids: Sequence[UUID]) -> int:
    return (await prune.prune(tx, tenant, way, ids)).rows


async def count(tx: Tx, table: str) -> int:
    return (await tx.one(f"SELECT count(*) FROM {table}"))[0]


# --- Find ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RULES)
async def test_rows_are_found_oldest_first_up_to_a_bound_and_of_one_tenant(
    tx: Tx, kind: str
) -> None:
    mine, other = await add_tenant(tx), await add_tenant(tx)
    made: dict[UUID, list[UUID]] = {mine: [], other: []}
    for number in (3, 1, 2, 5):
        for tenant, ids in made.items():
            if RULES[kind].table == "job":
                ids.append(await add_ended(tx, tenant, number))
                continue
            if RULES[kind].table == "bulk":
                ids.append(await add_operation(tx, tenant, number))
                continue
            event_id = await add_old_event(tx, tenant, number)
            await put(tx, "event", event_id, job_id=uuid4())
            delivery = await add_owed(tx, tenant, event_id, number)
            if kind == "replays":
                await put(tx, "delivery", delivery, resent_at=START + timedelta(days=number))
            ids.append(event_id if RULES[kind].table == "event" else delivery)
    three, one, two, _ = made[mine]
    assert await find(tx, mine, kind, until=4) == [one, two, three]
    assert await find(tx, mine, kind, until=4, limit=2) == [one, two]
    assert await find(tx, mine, kind, until=1) == []
    assert await drop(tx, mine, kind, [one, two]) == (4 if RULES[kind].table == "delivery" else 2)
    assert (await prune.cursor(tx, mine, kind) == two) == (RULES[kind].time is None)
    assert await prune.cursor(tx, other, kind) == NOTHING
    assert await find(tx, mine, kind, until=4) == [three]
    assert len(await find(tx, other, kind, until=9)) == 4


async def test_running_operations_are_not_pruned(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ended = await add_operation(tx, tenant, 1)
    running = await add_operation(tx, tenant, 1)
    await put(tx, "bulk", running, state="running", completed_at=None)
    assert await find(tx, tenant, "operations") == [ended]
    await drop(tx, tenant, "operations", [ended])
    assert [row.id for row in await tx.rows("SELECT id FROM bulk")] == [running]


async def test_each_kind_has_a_cursor_of_its_own(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    first, second = await add_ended(tx, tenant, 1), await add_ended(tx, tenant, 2)
    await prune.prune(tx, tenant, "payloads", [first])
    assert await find(tx, tenant, "jobs") == [first, second]
    await prune.prune(tx, tenant, "payloads", [second])
    assert await prune.cursor(tx, tenant, "payloads") == second
    assert await prune.cursor(tx, tenant, "jobs") == NOTHING


@pytest.mark.parametrize("state", ["accepted", "submitting", "submitted", "running"])
async def test_the_oldest_open_job_is_found(tx: Tx, state: str) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    await add_ended(tx, tenant, 1)
    assert await prune.oldest_open(tx, tenant) is None
    await add_jobs(tx, tenant, id=day(4))
    (oldest,) = await add_jobs(tx, tenant, id=day(3))
    await add_jobs(tx, other, id=day(2))
    await put(tx, "job", oldest, state=state)
    assert await prune.oldest_open(tx, tenant) == oldest


async def test_rows_of_one_instant_are_found_together(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    same = [await add_old_event(tx, tenant, number) for number in (1, 1, 1)]
    later = await add_old_event(tx, tenant, 2)
    assert set(await find(tx, tenant, "events", limit=2)) == set(same)
    await prune.prune(tx, tenant, "events", same)
    assert await find(tx, tenant, "events", limit=2) == [later]


async def test_the_cursor_of_a_time_is_exact_to_the_microsecond(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    first, second = [await add_old_event(tx, tenant, number) for number in (1, 1)]
    await put(tx, "event", first, created_at=START + timedelta(microseconds=1_999))
    await put(tx, "event", second, created_at=START + timedelta(microseconds=2_000))
    assert await find(tx, tenant, "events") == [first, second]
    await prune.prune(tx, tenant, "events", [first])
    assert await find(tx, tenant, "events") == [second]


# --- Delete --------------------------------------------------------------------------------------


async def test_pruned_payloads_leave_the_job_and_its_events(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    job_id, kept = await add_ended(tx, tenant, 1), await add_ended(tx, tenant, 2)
    long = json.dumps({"type": "job.succeeded", "data": {"result": "x" * 100}})
    made = datetime(2026, 1, 1, 12, 30, 15, 123000, tzinfo=UTC)
    event_id = await add_event(tx, tenant, "job.succeeded", job_id=job_id, body=long)
    await put(tx, "event", event_id, created_at=made)
    other = await add_event(tx, tenant, "job.succeeded", job_id=kept, body=long)
    assert await drop(tx, tenant, "payloads", [job_id]) == 1
    assert await drop(tx, tenant, "bodies", [event_id]) == 1
    assert await drop(tx, tenant, "bodies", [event_id]) == 0
    job = await row_of(tx, "job", job_id)
    assert (job.params, job.result, job.copy_results_to, job.version) == ("{}", None, None, 2)
    assert (job.state, job.name, job.metadata) == ("succeeded", "name", "{}")
    body = json.loads((await row_of(tx, "event", event_id)).body)
    assert body == {
        "type": "job.succeeded",
        "timestamp": "2026-01-01T12:30:15.123Z",
        "data": {"id": str(job_id), "truncated": True},
    }
    assert (await row_of(tx, "event", other)).body == long
    assert (await row_of(tx, "job", kept)).params == '{"in":1}'


async def test_a_job_without_a_payload_does_not_change(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    job_id = await add_ended(tx, tenant, 1)
    assert await drop(tx, tenant, "payloads", [job_id]) == 1
    assert await drop(tx, tenant, "payloads", [job_id]) == 0
    assert (await row_of(tx, "job", job_id)).version == 2
    bare = await add_ended(tx, tenant, 2, params="{}")
    assert await drop(tx, tenant, "payloads", [bare]) == 1, "it has a result"


async def test_pruned_jobs_take_their_notes_along(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    job_id, kept = await add_ended(tx, tenant, 1), await add_ended(tx, tenant, 2)
    notes = [NewNote(uuid4(), tenant, one, "submit.repeated", "") for one in (job_id, kept)]
    await lists.add_notes(tx, notes)
    assert await drop(tx, tenant, "jobs", [job_id]) == 1
    assert [row.id for row in await tx.rows("SELECT id FROM job")] == [kept]
    assert [row.job_id for row in await tx.rows("SELECT job_id FROM job_event")] == [kept]


async def test_pruned_attempts_leave_their_delivery(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    event_id = await add_event(tx, tenant)
    gone, kept = [await add_owed(tx, tenant, event_id, number) for number in (1, 2)]
    assert await drop(tx, tenant, "attempts", [gone]) == 2
    rows = await tx.rows("SELECT DISTINCT delivery_id FROM attempt")
    assert [row.delivery_id for row in rows] == [kept]
    assert await count(tx, "delivery") == 2


async def test_pruned_events_take_deliveries_and_attempts_along(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    gone, kept = [await add_event(tx, tenant, id=day(number)) for number in (1, 2)]
    for event_id in (gone, kept):
        await add_owed(tx, tenant, event_id, 5)
    assert await drop(tx, tenant, "events", [gone]) == 1
    assert [row.id for row in await tx.rows("SELECT id FROM event")] == [kept]
    assert [row.event_id for row in await tx.rows("SELECT event_id FROM delivery")] == [kept]
    assert await count(tx, "attempt") == 2


# --- Turns ---------------------------------------------------------------------------------------


async def due(tx: Tx, *, every: float = 3600.0, limit: int = 9) -> list[UUID]:
    return [one.tenant_id for one in await prune.tenants(tx, None, every, limit)]


async def test_the_tenant_that_waited_longest_is_pruned_first(tx: Tx) -> None:
    never, lately, long_ago, hours_ago = [await add_tenant(tx) for _ in range(4)]
    for tenant, seconds in ((lately, -3599), (long_ago, -90000), (hours_ago, -3601)):
        await put(tx, "tenant", tenant, pruned_at=seconds)
    assert await due(tx) == [never, long_ago, hours_ago]
    assert await due(tx, limit=2) == [never, long_ago]
    await prune.done(tx, never)
    assert await due(tx) == [long_ago, hours_ago]
    (one,) = await prune.tenants(tx, f"t-{lately.hex}", 0.0, 9)
    assert one.tenant_id == lately
    assert await prune.tenants(tx, "nobody", 0.0, 9) == []


async def test_the_retention_of_a_tenant_is_read(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    assert await prune.tenants(tx, None, 0.0, 9) == [
        Keeping(tenant, f"t-{tenant.hex}", None, None, None, None)
    ]
    await put(tx, "tenant", tenant, keep_payloads=1, keep_jobs=2, keep_attempts=3, keep_events=0)
    assert await prune.tenants(tx, None, 0.0, 9) == [Keeping(tenant, f"t-{tenant.hex}", 1, 2, 3, 0)]


# --- Rows that are pruned later -----------------------------------------------------------------


@pytest.mark.parametrize("way", ["bodies", "events"])
async def test_an_event_with_an_open_delivery_is_pruned_after_it(tx: Tx, way: str) -> None:
    tenant = await add_tenant(tx)
    ready, waits, done = [await add_old_event(tx, tenant, number) for number in (1, 2, 3)]
    for event_id in (ready, waits, done):
        await put(tx, "event", event_id, job_id=uuid4())
        await add_owed(tx, tenant, event_id, 1, "parked")
    delivery = await add_owed(tx, tenant, waits, 1, "pending")
    assert await drop(tx, tenant, way, [ready, waits, done]) == 2
    left = [waits] if way == "events" else [waits, done]
    assert await find(tx, tenant, way) == left, "the cursor is before it"
    assert (await row_of(tx, "event", waits)).body == "{}"
    await put(tx, "delivery", delivery, state="delivered")
    assert await drop(tx, tenant, way, left) == 1
    assert await find(tx, tenant, way) == []


@pytest.mark.parametrize("way", ["attempts", "replays"])
async def test_attempts_of_an_open_delivery_are_pruned_after_it(tx: Tx, way: str) -> None:
    tenant = await add_tenant(tx)
    event_id = await add_event(tx, tenant)
    waits = await add_owed(tx, tenant, event_id, 1, "pending")
    done = await add_owed(tx, tenant, event_id, 2)
    if way == "replays":
        for number, delivery in enumerate((waits, done)):
            await put(tx, "delivery", delivery, resent_at=START + timedelta(days=number))
    assert await drop(tx, tenant, way, [waits, done]) == 2
    assert await prune.cursor(tx, tenant, way) == NOTHING
    await put(tx, "delivery", waits, state="exhausted")
    assert await drop(tx, tenant, way, [waits, done]) == 2
    assert await find(tx, tenant, way) == []


async def test_attempts_count_from_the_last_replay(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    delivery = await add_owed(tx, tenant, await add_event(tx, tenant), 1)
    assert await find(tx, tenant, "attempts", until=5) == [delivery]
    await put(tx, "delivery", delivery, resent_at=START + timedelta(days=9))
    assert await find(tx, tenant, "attempts", until=5) == []
    assert await find(tx, tenant, "replays", until=5) == []
    assert await find(tx, tenant, "replays", until=10) == [delivery]


async def test_pruning_can_leave_the_cursor_where_it_is(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    first, second = await add_ended(tx, tenant, 1), await add_ended(tx, tenant, 2)
    pruned = await prune.prune(tx, tenant, "jobs", [first, second], moves=False)
    assert pruned == (2, second)
    assert await prune.cursor(tx, tenant, "jobs") == NOTHING


async def test_rows_that_are_pruned_already_are_skipped(tx: Tx) -> None:
    assert await prune.prune(tx, await add_tenant(tx), "jobs", [uuid4()]) == (0, None)


async def test_a_deleted_job_is_pruned_after_its_deletion_upstream(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    job_id = await add_ended(tx, tenant, 1)
    notes = [NewNote(uuid4(), tenant, job_id, "submit.repeated", "")]
    await lists.add_notes(tx, notes)
    await put(tx, "job", job_id, upstream_delete_at=60)
    assert await drop(tx, tenant, "jobs", await find(tx, tenant, "jobs")) == 0
    assert (await row_of(tx, "job", job_id)).id == job_id
    assert await count(tx, "job_event") == 1
    await put(tx, "job", job_id, upstream_delete_at=None)
    assert await find(tx, tenant, "jobs") == [job_id]


async def test_nothing_of_a_pruned_tenant_is_left_when_it_is_erased(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    await prune.prune(tx, tenant, "jobs", [await add_ended(tx, tenant, 1)])
    await tenants.erase(tx, tenant)
    assert await count(tx, "prune_cursor") == 0
