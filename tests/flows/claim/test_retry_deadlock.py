"""A flow that loses a deadlock runs again, once, and its caller does not notice."""

import asyncio
from collections.abc import Awaitable
from uuid import UUID

import pytest

from gateway.core.crypto.cipher import Secret
from gateway.core.model import KeyKind
from gateway.errors import Collision, Unavailable
from gateway.flows.admin.access_keys import create_key, revoke_key, rotate_key
from gateway.flows.admin.tenants import (
    TenantUpdate,
    change_tenant,
    get_tenant,
    put_credential,
    suspend_tenant,
)
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deliver.endpoints import delete_endpoint
from tests.flows.world import HOOK, World
from tests.store.blocking import until


def failing(times: int, error: Unavailable):
    calls: list[int] = []

    @retry_on_deadlock
    async def flow(number: int, *, more: int) -> int:
        calls.append(number)
        if len(calls) <= times:
            raise error
        return number + more

    return flow, calls


async def test_after_a_collision_the_flow_runs_again():
    flow, calls = failing(1, Collision("x"))
    assert await flow(1, more=2) == 3
    assert calls == [1, 1]


async def test_a_second_collision_is_raised():
    flow, calls = failing(2, Collision("x"))
    with pytest.raises(Collision):
        await flow(1, more=2)
    assert calls == [1, 1]


async def test_a_database_that_is_away_is_not_asked_again():
    flow, calls = failing(1, Unavailable("x"))
    with pytest.raises(Unavailable):
        await flow(1, more=2)
    assert calls == [1]


async def meet_deadlock(world: World, table: str, row: UUID, flow: Awaitable[object]) -> None:
    """Run a flow that changes a row of a table, and have it lose a deadlock over that row."""
    async with world.deps.db.single() as tx:
        await tx.rows(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM pg_advisory_xact_lock(8); RETURN NEW; END $$"
        )
        await tx.rows(
            f"CREATE TRIGGER slow BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION slow()"
        )
    try:
        async with world.deps.db.begin() as tx:
            await tx.rows("SET LOCAL deadlock_timeout = '60s'")  # so that the flow is the loser
            await tx.rows("SELECT pg_advisory_xact_lock(8)")
            running = asyncio.ensure_future(flow)
            waits = "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
            await until(world.deps.db, waits)
            await tx.rows(f"SELECT FROM {table} WHERE id = $1 FOR UPDATE", row)
        await running
    finally:
        async with world.deps.db.single() as tx:
            await tx.rows("DROP FUNCTION slow CASCADE")


async def test_deleting_an_endpoint_survives_a_deadlock(world: World):
    tenant = await world.tenant(hook=HOOK)
    endpoint_id = await world.value("SELECT id FROM endpoint")
    deleting = delete_endpoint(world.deps, tenant.id, endpoint_id)
    await meet_deadlock(world, "endpoint", endpoint_id, deleting)
    assert await world.value("SELECT deleted_at IS NOT NULL FROM endpoint")


async def test_suspending_a_tenant_survives_a_deadlock(world: World):
    tenant = await world.tenant()
    suspending = suspend_tenant(world.deps, "test", tenant.slug, suspended=True)
    await meet_deadlock(world, "tenant", tenant.id, suspending)
    assert (await get_tenant(world.deps, tenant.slug)).suspended_at is not None
    actions = "SELECT count(*) FROM audit WHERE action = 'tenant.suspended'"
    assert await world.value(actions) == 1, "the first attempt left nothing"


async def test_changing_a_tenant_survives_a_deadlock(world: World):
    tenant = await world.tenant()
    changing = change_tenant(world.deps, "test", tenant.slug, TenantUpdate(name="New"))
    await meet_deadlock(world, "tenant", tenant.id, changing)
    assert (await get_tenant(world.deps, tenant.slug)).name == "New"


async def test_revoking_a_key_survives_a_deadlock(world: World):
    key, _ = await create_key(world.deps, "test", kind=KeyKind.OPERATOR, name="k")
    revoking = revoke_key(world.deps, "test", key.key_id)
    await meet_deadlock(world, "access_key", key.id, revoking)
    assert await world.value("SELECT revoked_at IS NOT NULL FROM access_key")


async def test_rotating_a_key_survives_a_deadlock(world: World):
    key, _ = await create_key(world.deps, "test", kind=KeyKind.OPERATOR, name="k")
    rotating = rotate_key(world.deps, "test", key.key_id, overlap_seconds=60.0)
    await meet_deadlock(world, "access_key", key.id, rotating)
    assert await world.value("SELECT count(*) FROM access_key") == 2


async def test_a_repeated_credential_survives_a_deadlock(world: World):
    tenant = await world.tenant()
    credential_id = await world.value("SELECT id FROM credential")
    again = put_credential(
        world.deps, "test", tenant.slug, api_key=Secret(f"key-of-{tenant.slug}"), base_url=None
    )
    await meet_deadlock(world, "credential", credential_id, again)
    assert await world.value("SELECT count(*) FROM credential") == 1
