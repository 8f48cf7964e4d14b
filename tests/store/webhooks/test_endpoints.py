"""Endpoints and their signing secrets as rows."""

import asyncio
from uuid import UUID

from uuid_utils.compat import uuid7

from gateway.core.model import Endpoint
from gateway.store.database import Database, Tx
from gateway.store.webhooks import attempts, endpoints
from gateway.store.webhooks.endpoints import EndpointSecret
from gateway.store.work import sweeps
from tests.builders import (
    add_deliveries,
    add_endpoint,
    add_tenant,
    options_of,
    put,
    row_of,
    seconds_until,
)
from tests.store.blocking import blocked


async def test_an_endpoint_is_found_with_its_fields(tx: Tx) -> None:
    tenant, other, id_ = await add_tenant(tx), await add_tenant(tx), uuid7()
    wanted = options_of(
        url="https://a.example/x",
        description="d",
        events=["b", "a"],
        header_names=["X-B", "X-A"],
        headers_sealed=b"sealed",
        delays=[1, 60],
        concurrency=3,
        rate_limit=7,
    )
    made = await endpoints.add(tx, id_, tenant, "v1a", wanted, most=1000)
    now = (await row_of(tx, "endpoint", id_)).now
    assert made == Endpoint(
        id=id_,
        tenant_id=tenant,
        url="https://a.example/x",
        description="d",
        events=("b", "a"),
        algorithm="v1a",
        header_names=("X-B", "X-A"),
        delays=(1, 60),
        concurrency=3,
        rate_limit=7,
        failing_since=None,
        failures=0,
        disabled_at=None,
        disabled_reason=None,
        created_at=now,
        updated_at=now,
    )
    assert await endpoints.sealed_headers(tx, id_) == b"sealed"
    for find in (endpoints.find, endpoints.hold):
        assert await find(tx, tenant, id_) == made
        assert await find(tx, other, id_) is None
        assert await find(tx, tenant, uuid7()) is None


async def test_everything_but_algorithm_and_health_can_change(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    id_ = await add_endpoint(tx, tenant, header_names=["X-A"], headers_sealed=b"a", delays=[5])
    await put(tx, "endpoint", id_, updated_at=-60)
    wanted = options_of(url="https://b.example", events=["a"], header_names=["X-A"], rate_limit=2)
    assert await endpoints.change(tx, other, id_, wanted, headers_too=False) is None
    after = await endpoints.change(tx, tenant, id_, wanted, headers_too=False)
    assert after is not None
    assert after == await endpoints.find(tx, tenant, id_)
    assert (after.url, after.events, after.delays, after.rate_limit) == (
        "https://b.example",
        ("a",),
        None,
        2,
    )
    assert after.updated_at == (await row_of(tx, "endpoint", id_)).now
    assert await endpoints.sealed_headers(tx, id_) == b"a"
    await endpoints.change(tx, tenant, id_, wanted._replace(headers_sealed=b"b"), headers_too=True)
    assert await endpoints.sealed_headers(tx, id_) == b"b"


async def test_a_change_waits_for_the_lock_on_its_endpoint(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        id_ = await add_endpoint(tx, tenant)

    async def rename() -> Endpoint | None:
        async with db.begin() as other:
            wanted = options_of(description="second")
            return await endpoints.change(other, tenant, id_, wanted, headers_too=False)

    async with db.begin() as tx:
        await endpoints.hold(tx, tenant, id_)
        task = await blocked(db, rename())
        await endpoints.change(tx, tenant, id_, options_of(description="first"), headers_too=False)
    found = await task
    assert found is not None
    assert found.description == "second"


async def test_a_tenant_has_its_endpoints_in_order(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    ids = [await add_endpoint(tx, tenant) for _ in range(3)]
    await add_endpoint(tx, other)
    assert [e.id for e in await endpoints.page(tx, tenant, after=None, limit=9)] == ids
    assert [e.id for e in await endpoints.page(tx, tenant, after=ids[0], limit=1)] == [ids[1]]
    await endpoints.delete(tx, tenant, ids[1])
    assert [e.id for e in await endpoints.page(tx, tenant, after=None, limit=9)] == [ids[0], ids[2]]


async def test_a_tenant_has_a_cap_on_its_endpoints(db: Database) -> None:
    async with db.begin() as tx:
        tenant, other = await add_tenant(tx), await add_tenant(tx)
        await add_endpoint(tx, other)

    async def add() -> Endpoint | None:
        async with db.begin() as tx:
            return await endpoints.add(tx, uuid7(), tenant, "v1", options_of(), most=3)

    made = [one for one in await asyncio.gather(*[add() for _ in range(9)]) if one]
    assert len(made) == 3
    async with db.begin() as tx:
        await endpoints.delete(tx, tenant, made[0].id)
    assert await add() is not None
    assert await add() is None


async def test_an_enabled_endpoint_starts_with_a_clean_health(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    id_ = await add_endpoint(tx, tenant)
    await attempts.failing(tx, id_, 19)
    await attempts.slow(tx, id_, 60.0)
    await attempts.disable(tx, id_, "gone")
    (found,) = await endpoints.page(tx, tenant, after=None, limit=9)
    assert (found.disabled_reason, found.failures) == ("gone", 19)
    assert found.disabled_at is not None
    assert await endpoints.enable(tx, other, id_) is None
    enabled = await endpoints.enable(tx, tenant, id_)
    assert enabled is not None
    assert (enabled.disabled_at, enabled.disabled_reason) == (None, None)
    assert (enabled.failing_since, enabled.failures) == (None, 0)
    assert (await row_of(tx, "endpoint", id_)).paused_until is None


async def test_parked_deliveries_are_counted(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    id_, another = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    await add_deliveries(tx, tenant, id_, 3, state="parked")
    await add_deliveries(tx, tenant, id_, state="exhausted")
    await add_deliveries(tx, tenant, another, state="parked")
    assert await endpoints.parked(tx, tenant, id_) == 3
    assert await endpoints.parked(tx, other, id_) == 0


async def test_open_deliveries_of_a_deleted_endpoint_are_exhausted(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    id_, kept = await add_endpoint(tx, tenant, headers_sealed=b"s"), await add_endpoint(tx, tenant)
    owed = {
        state: (await add_deliveries(tx, tenant, id_, state=state))[0]
        for state in ("pending", "parked", "delivered")
    }
    (foreign,) = await add_deliveries(tx, tenant, kept)
    assert not await endpoints.delete(tx, other, id_)
    assert (await row_of(tx, "delivery", owed["pending"])).state == "pending"
    assert await endpoints.delete(tx, tenant, id_)
    for state in ("pending", "parked"):
        row = await row_of(tx, "delivery", owed[state])
        assert (row.state, row.completed_at, row.lease_token) == ("exhausted", row.now, None)
        assert row.last_error == "the endpoint was deleted"
    assert (await row_of(tx, "delivery", owed["delivered"])).state == "delivered"
    assert (await row_of(tx, "delivery", foreign)).state == "pending"
    assert await endpoints.sealed_headers(tx, id_) is None
    assert not await endpoints.delete(tx, tenant, id_)
    assert await endpoints.find(tx, tenant, id_) is None
    assert await endpoints.hold(tx, tenant, id_) is None
    assert await endpoints.enable(tx, tenant, id_) is None
    assert await endpoints.change(tx, tenant, id_, options_of(), headers_too=False) is None


async def test_the_sweep_exhausts_what_a_deletion_left(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    id_ = await add_endpoint(tx, tenant)
    await add_deliveries(tx, tenant, id_, 1001)
    await add_deliveries(tx, tenant, id_, 2, state="parked")
    counts: list[int] = []
    assert await endpoints.delete(tx, tenant, id_)
    for _ in range(2):
        counts += await tx.one("SELECT count(*) FROM delivery WHERE state = 'exhausted'")
        await sweeps.put_away(tx)
    assert counts == [1002, 1003]


# --- Secrets ------------------------------------------------------------------------------------


async def keep(
    tx: Tx, tenant: UUID, endpoint: UUID | None, sealed: bytes, public: bytes | None = None
) -> UUID:
    id_, algorithm = uuid7(), "v1a" if public else "v1"
    await endpoints.add_secret(
        tx, id_, tenant, endpoint, algorithm=algorithm, sealed=sealed, public_key=public
    )
    return id_


async def test_the_newest_live_secret_is_used(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    assert await endpoints.secret(tx, tenant, endpoint) is None
    old = await keep(tx, tenant, endpoint, b"old")
    new = await keep(tx, tenant, endpoint, b"new", b"public")
    default = await keep(tx, tenant, None, b"default")
    assert await endpoints.secret(tx, tenant, endpoint) == EndpointSecret(new, "v1a", b"new")
    assert await endpoints.secret(tx, tenant, None) == EndpointSecret(default, "v1", b"default")
    assert await endpoints.secret(tx, other, endpoint) is None
    assert await endpoints.secret(tx, other, None) is None
    await put(tx, "signing_secret", new, expires_at=60)
    assert await endpoints.secret(tx, tenant, endpoint) == EndpointSecret(new, "v1a", b"new")
    await put(tx, "signing_secret", new, expires_at=0)
    assert await endpoints.secret(tx, tenant, endpoint) == EndpointSecret(old, "v1", b"old")


async def test_a_rotation_ends_live_secrets_after_the_overlap_and_prolongs_none(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    dead, soon, live = [await keep(tx, tenant, endpoint, b"s") for _ in range(3)]
    await put(tx, "signing_secret", dead, expires_at=-5)
    await put(tx, "signing_secret", soon, expires_at=5)
    others = [await keep(tx, tenant, None, b"s"), await keep(tx, other, None, b"s")]
    await endpoints.retire_secrets(tx, tenant, endpoint, overlap=60.0, most=5)
    ends = [
        await seconds_until(tx, "signing_secret", id_, "expires_at") for id_ in (dead, soon, live)
    ]
    assert ends == [-5.0, 5.0, 60.0]
    for id_ in others:
        assert (await row_of(tx, "signing_secret", id_)).expires_at is None


async def test_the_oldest_secrets_above_the_limit_end_at_once(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = [await keep(tx, tenant, None, b"s") for _ in range(6)]
    await endpoints.retire_secrets(tx, tenant, None, overlap=60.0, most=5)
    ends = [await seconds_until(tx, "signing_secret", id_, "expires_at") for id_ in ids]
    assert ends == [0.0, 0.0, 60.0, 60.0, 60.0, 60.0]


async def test_public_keys_are_shown_until_they_expire(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    first, second = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    await keep(tx, tenant, first, b"s")
    await keep(tx, tenant, first, b"s", b"1")
    old = await keep(tx, tenant, first, b"s", b"2")
    await keep(tx, tenant, second, b"s", b"3")
    await keep(tx, other, None, b"s", b"4")
    await put(tx, "signing_secret", old, expires_at=0)
    assert await endpoints.public_keys(tx, None) == []
    assert await endpoints.public_keys(tx, second) == [b"3"]
    assert await endpoints.public_keys(tx, first) == [b"1"]
    assert await endpoints.public_keys(tx, None, other) == [b"4"]
    assert await endpoints.public_keys(tx, None, tenant) == []
    await endpoints.delete(tx, tenant, first)
    assert await endpoints.public_keys(tx, first) == []
