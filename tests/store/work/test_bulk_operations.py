"""Bulk operations as rows: claimed once, advanced by the holder of the lease, stopped by their tenant."""

import asyncio
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from gateway.store.database import Database, Tx
from gateway.store.work import bulk_operations
from gateway.store.work.bulk_operations import Operation, Progress
from tests.builders import add_tenant, put, row_of, seconds_until
from tests.store.blocking import blocked


async def add(tx: Tx, tenant: UUID, total: int = 5, **changes: Any) -> Operation:
    given: dict[str, Any] = {
        "kind": "resend",
        "endpoint_id": None,
        "filter_": '{"states":["parked"]}',
        "until": uuid7(),
        "most": 99,
    }
    made = await bulk_operations.add(tx, uuid7(), tenant, total=total, **given | changes)
    assert made is not None
    return made


async def test_an_operation_is_due_at_once_and_found_by_its_tenant_only(tx: Tx) -> None:
    tenant, other, until, endpoint = await add_tenant(tx), await add_tenant(tx), uuid7(), uuid7()
    assert not await bulk_operations.is_due(tx)
    made = await add(tx, tenant, until=until, endpoint_id=endpoint)
    now = (await row_of(tx, "bulk", made.id)).now
    assert made == Operation(
        id=made.id,
        tenant_id=tenant,
        kind="resend",
        endpoint_id=endpoint,
        filter='{"states":["parked"]}',
        state="running",
        total=5,
        done=0,
        cursor=None,
        until=until,
        created_at=now,
        completed_at=None,
    )
    assert await bulk_operations.is_due(tx)
    assert await bulk_operations.find(tx, tenant, made.id) == made
    assert await bulk_operations.find(tx, other, made.id) is None


async def test_a_claim_takes_one_operation_in_every_plan(tx: Tx) -> None:
    made = [await add(tx, await add_tenant(tx)) for _ in range(5)]
    for way in ("hashjoin", "mergejoin", "hashagg", "sort", "material", "indexscan", "bitmapscan"):
        await tx.one("SELECT set_config('enable_' || $1, 'off', true)", way)
    claimed = [await bulk_operations.claim(tx, lease=30.0, token=uuid7()) for _ in made]
    assert {one.id for one in claimed if one} == {one.id for one in made}


async def test_an_operation_without_rows_is_done(tx: Tx) -> None:
    made = await add(tx, await add_tenant(tx), 0, until=None)
    assert (made.state, made.completed_at) == ("done", made.created_at)
    assert made.until == UUID(int=0)
    assert not await bulk_operations.is_due(tx)
    assert await bulk_operations.claim(tx, lease=30.0, token=uuid7()) is None


async def test_a_tenants_operations_are_paged_newest_first(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    made = [await add(tx, tenant) for _ in range(3)]
    await add(tx, await add_tenant(tx))
    kinds = ["other", made[0].kind]
    assert await bulk_operations.page(tx, tenant, None, 2, kinds=kinds) == [made[2], made[1]]
    assert await bulk_operations.page(tx, tenant, made[1].id, 2, kinds=kinds) == [made[0]]
    assert await bulk_operations.page(tx, tenant, None, 2, kinds=["other"]) == []


async def test_the_operation_that_waited_longest_is_claimed_first(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    first, second = await add(tx, tenant), await add(tx, tenant)
    await put(tx, "bulk", first.id, next_at=-1)
    await put(tx, "bulk", second.id, next_at=-2)
    claimed = [await bulk_operations.claim(tx, lease=30.0, token=uuid7()) for _ in range(3)]
    assert claimed == [second, first, None]
    assert await seconds_until(tx, "bulk", first.id, "next_at") == 30.0
    await put(tx, "bulk", first.id, next_at=0)
    assert await bulk_operations.claim(tx, lease=30.0, token=uuid7()) == first


async def test_tenants_take_turns_whatever_number_of_operations_they_have(tx: Tx) -> None:
    tenants = sorted([await add_tenant(tx) for _ in range(3)])
    for tenant in (*[tenants[1]] * 5, tenants[0], tenants[2]):
        await add(tx, tenant)
    served, turns = UUID(int=0), list[UUID]()
    while one := await bulk_operations.claim(tx, lease=30.0, token=uuid7(), served=served):
        served = one.tenant_id
        turns.append(served)
    assert turns == [*tenants, *[tenants[1]] * 4]


async def test_a_tenant_has_a_cap_on_running_operations(tx: Tx) -> None:
    tenant, most = await add_tenant(tx), 2
    made = [await add(tx, tenant) for _ in range(most)]
    await add(tx, await add_tenant(tx), most=most)
    more: dict[str, Any] = {
        "kind": "resend",
        "endpoint_id": None,
        "filter_": "{}",
        "until": uuid7(),
        "most": most,
    }
    assert await bulk_operations.running(tx, tenant) == most
    assert await bulk_operations.add(tx, uuid7(), tenant, total=1, **more) is None
    nothing = await bulk_operations.add(tx, uuid7(), tenant, total=0, **more)
    assert nothing is not None
    assert nothing.state == "done"
    await bulk_operations.stop(tx, tenant, made[0].id)
    assert await bulk_operations.add(tx, uuid7(), tenant, total=1, **more) is not None


async def test_operations_that_begin_at_once_do_not_exceed_the_cap(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)

    async def begin() -> bool:
        async with db.begin() as other:
            made = await bulk_operations.add(
                other,
                uuid7(),
                tenant,
                kind="resend",
                endpoint_id=None,
                filter_="{}",
                total=1,
                until=uuid7(),
                most=3,
            )
            return made is not None

    assert sum(await asyncio.gather(*[begin() for _ in range(12)])) == 3


async def test_two_claimers_never_get_the_same_operation(db: Database) -> None:
    async with db.begin() as tx:
        made = await add(tx, await add_tenant(tx))
    async with db.begin() as one, db.begin() as other:
        assert await bulk_operations.claim(one, lease=30.0, token=uuid7()) == made
        assert await bulk_operations.claim(other, lease=30.0, token=uuid7()) is None


async def test_only_the_holder_of_the_lease_records_a_batch(tx: Tx) -> None:
    made, token, cursor = await add(tx, await add_tenant(tx)), uuid7(), uuid7()
    await bulk_operations.claim(tx, lease=30.0, token=token)
    before = await row_of(tx, "bulk", made.id)
    assert await bulk_operations.hold(tx, made.id, uuid7()) is None
    nothing = Progress(9, uuid7(), 0.5, finished=True)
    assert await bulk_operations.advance(tx, made.id, uuid7(), nothing) is None
    assert await row_of(tx, "bulk", made.id) == before
    assert await bulk_operations.hold(tx, made.id, token) == "running"
    some = Progress(2, cursor, 0.5, finished=False)
    assert await bulk_operations.advance(tx, made.id, token, some) == "running"
    assert await seconds_until(tx, "bulk", made.id, "next_at") == 0.5
    await bulk_operations.advance(tx, made.id, token, Progress(0, None, 0.5, finished=False))
    row = await row_of(tx, "bulk", made.id)
    assert (row.done, row.cursor, row.state, row.completed_at) == (2, cursor, "running", None)
    last = Progress(3, None, 0.0, finished=True)
    assert await bulk_operations.advance(tx, made.id, token, last) == "done"
    row = await row_of(tx, "bulk", made.id)
    assert (row.done, row.cursor, row.state, row.completed_at) == (5, cursor, "done", row.now)
    assert await bulk_operations.hold(tx, made.id, token) == "done"
    assert await bulk_operations.advance(tx, made.id, token, last) is None, (
        "nothing is counted twice"
    )


async def test_stopping_an_operation_waits_for_its_batch(
    db: Database,
) -> None:
    token = uuid7()
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        made = await add(tx, tenant)
        await bulk_operations.claim(tx, lease=30.0, token=token)

    async def stop() -> Operation | None:
        async with db.begin() as other:
            return await bulk_operations.stop(other, tenant, made.id)

    async with db.begin() as tx:
        assert await bulk_operations.hold(tx, made.id, token) == "running"
        task = await blocked(db, stop())
        await bulk_operations.advance(tx, made.id, token, Progress(2, uuid7(), 0.5, finished=False))
    stopped = await task
    assert stopped is not None
    assert (stopped.state, stopped.done) == ("stopped", 2)


async def test_a_stopped_operation_goes_no_further(tx: Tx) -> None:
    tenant, token = await add_tenant(tx), uuid7()
    made = await add(tx, tenant)
    await bulk_operations.claim(tx, lease=30.0, token=token)
    assert await bulk_operations.stop(tx, await add_tenant(tx), made.id) is None
    stopped = await bulk_operations.stop(tx, tenant, made.id)
    assert stopped is not None
    assert (stopped.state, stopped.completed_at) == ("stopped", stopped.created_at)
    assert await bulk_operations.stop(tx, tenant, made.id) is None
    assert await bulk_operations.hold(tx, made.id, token) == "stopped"
    assert (
        await bulk_operations.advance(tx, made.id, token, Progress(2, None, 0.0, finished=True))
        == "stopped"
    )
    row = await row_of(tx, "bulk", made.id)
    assert (row.done, row.completed_at) == (2, stopped.completed_at), "what was done is counted"
    assert not await bulk_operations.is_due(tx)
