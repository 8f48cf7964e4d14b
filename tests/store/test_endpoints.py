from uuid_utils.compat import uuid7

from gateway.core.model import Endpoint
from gateway.store import deliveries, endpoints
from gateway.store.engine import Tx
from tests.builders import add_deliveries, add_endpoint, add_tenant, put, row_of


async def test_an_endpoint_is_found_as_it_was_made(tx: Tx) -> None:
    tenant, other, id_ = await add_tenant(tx), await add_tenant(tx), uuid7()
    made = await endpoints.add(
        tx, id_, tenant, url="https://a.example/x", description="d", events=["b", "a"]
    )
    now = (await row_of(tx, "endpoint", id_)).now
    assert made == Endpoint(
        id_, tenant, "https://a.example/x", "d", ("b", "a"), None, None, now, now
    )
    assert await endpoints.find(tx, tenant, id_) == made
    assert await endpoints.find(tx, other, id_) is None
    assert await endpoints.find(tx, tenant, uuid7()) is None


async def test_a_tenant_has_its_endpoints_in_order(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    ids = [await add_endpoint(tx, tenant) for _ in range(3)]
    await add_endpoint(tx, other)
    assert [e.id for e in await endpoints.of_tenant(tx, tenant)] == ids
    await endpoints.delete(tx, tenant, ids[1])
    assert [e.id for e in await endpoints.of_tenant(tx, tenant)] == [ids[0], ids[2]]


async def test_a_disabled_endpoint_is_still_shown(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    id_ = await add_endpoint(tx, tenant)
    await deliveries.disable(tx, id_, "gone")
    (found,) = await endpoints.of_tenant(tx, tenant)
    assert found.disabled_reason == "gone"
    assert found.disabled_at is not None


async def test_what_a_deleted_endpoint_is_owed_ends_exhausted(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    id_, kept = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant)
    owed = {
        state: (await add_deliveries(tx, tenant, id_, state=state))[0]
        for state in ("pending", "parked", "delivered")
    }
    (foreign,) = await add_deliveries(tx, tenant, kept)
    assert not await endpoints.delete(tx, other, id_)
    assert (await row_of(tx, "delivery", owed["pending"])).state == "pending"
    assert await endpoints.delete(tx, tenant, id_)
    assert await endpoints.find(tx, tenant, id_) is None
    for state in ("pending", "parked"):
        row = await row_of(tx, "delivery", owed[state])
        assert (row.state, row.completed_at, row.lease_token) == ("exhausted", row.now, None)
        assert row.last_error == "the endpoint was deleted"
    assert (await row_of(tx, "delivery", owed["delivered"])).state == "delivered"
    assert (await row_of(tx, "delivery", foreign)).state == "pending"
    assert not await endpoints.delete(tx, tenant, id_)


async def test_a_deleted_endpoint_stays_visible_in_its_log(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    id_ = await add_endpoint(tx, tenant)
    (delivery,) = await add_deliveries(tx, tenant, id_)
    await endpoints.delete(tx, tenant, id_)
    found = await deliveries.find(tx, tenant, delivery)
    assert found is not None
    assert found.url == "https://hooks.example/x"


async def test_the_newest_live_secret_counts(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    old, new, default = uuid7(), uuid7(), uuid7()
    assert await endpoints.secret(tx, tenant, endpoint) is None
    await endpoints.add_secret(tx, old, tenant, endpoint, b"old")
    await endpoints.add_secret(tx, new, tenant, endpoint, b"new")
    await endpoints.add_secret(tx, default, tenant, None, b"default")
    assert await endpoints.secret(tx, tenant, endpoint) == (new, b"new")
    assert await endpoints.secret(tx, tenant, None) == (default, b"default")
    assert await endpoints.secret(tx, other, endpoint) is None
    assert await endpoints.secret(tx, other, None) is None
    await put(tx, "signing_secret", new, expires_at=60)
    assert await endpoints.secret(tx, tenant, endpoint) == (new, b"new")
    await put(tx, "signing_secret", new, expires_at=0)
    assert await endpoints.secret(tx, tenant, endpoint) == (old, b"old")
