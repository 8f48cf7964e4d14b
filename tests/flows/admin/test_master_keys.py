"""The master keys: what each seals, resealing while work goes on, and the check at the start."""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from gateway.config.environment import InvalidSettingsError
from gateway.core.crypto.cipher import Cipher
from gateway.flows.admin.master_keys import KeyUse, give_up, require_keys, reseal, uses
from gateway.flows.deliver.signing_keys import live_keys, open_headers
from gateway.flows.deliver.signing_secrets import default_secret, rotate_secret
from gateway.flows.deps import Deps
from tests.flows.database_faults import behind_proxy, older_schema
from tests.flows.world import HOOK, World

OLD, NEW, OTHER = bytes(32), b"n" * 32, b"o" * 32


def ids(*keys: bytes) -> list[str]:
    return [number.hex() for number in Cipher(keys).numbers]


def with_keys(world: World, *keys: bytes) -> Deps:
    return replace(world.deps, cipher=Cipher(keys))


async def table(deps: Deps) -> list[tuple[str, int | None, dict[str, int], str]]:
    return [(u.id, u.rank, dict(u.counts), u.advice) for u in await uses(deps.db, deps.cipher)]


async def stocked(world: World) -> UUID:
    """A tenant with two credentials, an endpoint with headers, and two signing secrets."""
    tenant = await world.tenant()
    await world.credential("acme", "second-key")
    await world.endpoint(tenant, HOOK, headers={"X-Key": "s3cr3t"})
    return tenant.id


SEALED = {"credentials": 2, "signing secrets": 2, "endpoint headers": 1}


async def test_what_each_key_seals(world: World):
    await stocked(world)
    old, new, other = ids(OLD, NEW, OTHER)
    assert await table(with_keys(world, OLD)) == [(old, 0, SEALED, "seals")]
    assert await table(with_keys(world, NEW, OLD, OTHER)) == [
        (new, 0, {}, "seals"),
        (old, 1, SEALED, "needed"),
        (other, 2, {}, "may be dropped"),
    ]
    assert await table(with_keys(world, NEW)) == [
        (new, 0, {}, "seals"),
        (old, None, SEALED, "missing: put it in the list"),
    ]


async def test_a_secret_that_has_expired_needs_no_key(world: World):
    tenant_id = await stocked(world)
    await rotate_secret(world.deps, tenant_id, None, overlap=60.0)
    (use,) = await uses(world.deps.db, world.deps.cipher)
    assert use.total == 6
    await world.pass_time(61)
    (use,) = await uses(world.deps.db, world.deps.cipher)
    assert use.total == 5


async def test_everything_is_resealed_in_batches_and_still_opens(world: World):
    tenant_id = await stocked(world)
    before = await default_secret(world.deps, tenant_id)
    both = with_keys(world, NEW, OLD)
    batches = [(one.kind, one.done) async for one in reseal(both, batch=1)]
    assert batches == [("credentials", 1)] * 2 + [("signing secrets", 1)] * 2 + [
        ("endpoint headers", 1)
    ]
    new, old = ids(NEW, OLD)
    assert await table(both) == [(new, 0, SEALED, "seals"), (old, 1, {}, "may be dropped")]
    assert [one async for one in reseal(both)] == []
    alone = with_keys(world, NEW)
    await require_keys(alone)
    assert await default_secret(alone, tenant_id) == before
    row = await world.row("SELECT id, headers_sealed FROM endpoint")
    assert open_headers(alone, tenant_id, row.id, row.headers_sealed) == {"x-key": "s3cr3t"}
    async with world.deps.db.single() as tx:
        assert len(await live_keys(tx, alone, [(tenant_id, row.id)])) == 1


async def test_a_secret_that_cannot_be_opened_stays_and_its_key_is_named(world: World):
    await stocked(world)
    (old,) = ids(OLD)
    blind = with_keys(world, NEW)
    found = [(one.kind, one.done, list(one.unopened)) async for one in reseal(blind, batch=2)]
    assert found == [
        ("credentials", 0, [old, old]),
        ("signing secrets", 0, [old, old]),
        ("endpoint headers", 0, [old]),
    ]
    assert await table(world.deps) == [(old, 0, SEALED, "seals")]


async def test_a_process_does_not_start_without_a_key_that_is_needed(world: World):
    await require_keys(with_keys(world, NEW))
    await stocked(world)
    await require_keys(with_keys(world, NEW, OLD))
    (old,) = ids(OLD)
    with pytest.raises(InvalidSettingsError) as caught:
        await require_keys(with_keys(world, NEW))
    assert str(caught.value) == (
        f"GATEWAY_MASTER_KEY: the key {old} is missing, which seals 2 credentials, 2 signing secrets,"
        " 1 endpoint headers: put it in the list, behind the first"
    )


async def test_a_damaged_secret_stops_no_process(world: World):
    await stocked(world)
    await world.run("UPDATE signing_secret SET sealed = '\\x00'")
    await require_keys(with_keys(world, OLD))
    (use,) = await uses(world.deps.db, Cipher([OLD]))
    assert use.total == 3


async def test_a_process_starts_unchecked_if_the_database_fails_three_times(
    world: World, database_url: str
):
    await stocked(world)
    async with behind_proxy(with_keys(world, NEW), database_url) as (deps, proxy):
        proxy.reset_on = b"alembic_version"
        await require_keys(deps)
        assert proxy.hits == 3


async def test_a_check_that_failed_once_is_repeated(world: World, database_url: str):
    await stocked(world)
    async with behind_proxy(with_keys(world, NEW), database_url) as (deps, proxy):
        proxy.reset_on = b"alembic_version"
        checking = asyncio.create_task(require_keys(deps))
        while not proxy.hits:  # noqa: ASYNC110 - the proxy has no event for it
            await asyncio.sleep(0)
        proxy.heal()
        with pytest.raises(InvalidSettingsError):
            await checking
        assert proxy.hits == 1


async def test_on_an_older_schema_nothing_is_refused(world: World):
    await stocked(world)
    async with older_schema(world):
        await require_keys(with_keys(world, NEW))
    with pytest.raises(InvalidSettingsError):
        await require_keys(with_keys(world, NEW))


async def test_secrets_of_a_lost_key_can_be_given_up(world: World):
    tenant_id = await stocked(world)
    new, lost = with_keys(world, NEW), Cipher([OLD]).numbers[0]
    assert await give_up(new.db, lost) == SEALED
    await require_keys(new)
    assert await give_up(new.db, lost) == dict.fromkeys(SEALED, 0)
    assert [one async for one in reseal(new)] == []
    # What needs them waits until there are others.
    await rotate_secret(new, tenant_id, None, overlap=60.0)
    assert (await default_secret(new, tenant_id)).startswith("whsec_")


def test_the_sum_of_a_key() -> None:
    assert KeyUse("00", 1, {"credentials": 2, "signing secrets": 3}).total == 5
