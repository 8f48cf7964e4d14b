from datetime import timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.core.model import AccessKey, KeyKind
from gateway.store.database import Tx
from gateway.store.tenancy import access_keys
from tests.builders import MADE_AT, add_tenant, key_of, put, row_of, seconds_until


@pytest.mark.parametrize("tenants", [None, frozenset[UUID](), frozenset({uuid7(), uuid7()})])
async def test_a_key_is_found_with_its_fields(tx: Tx, tenants: frozenset[UUID] | None) -> None:
    tenant = await add_tenant(tx)
    key = key_of(
        kind=KeyKind.SERVICE,
        tenant_id=tenant,
        tenants=tenants,
        scopes=frozenset({"jobs:read", "jobs:write"}),
        expires_at=MADE_AT,
    )
    stored = await access_keys.add(tx, key)
    now = (await row_of(tx, "access_key", key.id)).now
    assert stored == AccessKey(
        id=key.id,
        key_id=key.key_id,
        kind=KeyKind.SERVICE,
        tenant_id=tenant,
        tenants=tenants,
        name="a key",
        scopes=frozenset({"jobs:read", "jobs:write"}),
        digest=b"d" * 32,
        created_at=now,
        expires_at=MADE_AT,
        revoked_at=None,
        last_used_at=None,
    )
    assert await access_keys.find(tx, key.key_id) == stored
    assert await access_keys.find(tx, "unknown") is None


async def test_keys_are_listed_by_their_tenant(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    mine = [await access_keys.add(tx, key_of(tenant_id=tenant)) for _ in range(2)]
    theirs = await access_keys.add(tx, key_of(tenant_id=other))
    ours = await access_keys.add(tx, key_of())
    assert await access_keys.of_tenant(tx, tenant) == mine
    assert await access_keys.of_tenant(tx, other) == [theirs]
    assert await access_keys.of_tenant(tx, None) == [ours]


async def test_revoking_a_key_twice_keeps_the_first_time(tx: Tx) -> None:
    key = await access_keys.add(tx, key_of())
    revoked = await access_keys.revoke(tx, key.key_id)
    assert revoked is not None
    assert revoked.revoked_at == revoked.created_at
    await put(tx, "access_key", key.id, revoked_at=-60)
    again = await access_keys.revoke(tx, key.key_id)
    assert again is not None
    assert again.revoked_at == key.created_at - timedelta(seconds=60)
    assert await access_keys.find(tx, key.key_id) == again
    assert await access_keys.revoke(tx, "unknown") is None


async def test_a_key_ends_after_its_overlap_but_never_later_than_before(tx: Tx) -> None:
    key = await access_keys.add(tx, key_of())
    ending = await access_keys.expire(tx, key.key_id, 60.0)
    assert ending is not None
    assert ending.expires_at == key.created_at + timedelta(seconds=60)
    await access_keys.expire(tx, key.key_id, 90.0)
    assert await seconds_until(tx, "access_key", key.id, "expires_at") == 60.0
    await access_keys.expire(tx, key.key_id, 5.0)
    assert await seconds_until(tx, "access_key", key.id, "expires_at") == 5.0
    await access_keys.revoke(tx, key.key_id)
    assert await access_keys.expire(tx, key.key_id, 5.0) is None
    assert await access_keys.expire(tx, "unknown", 5.0) is None


async def test_use_is_noted_to_the_minute(tx: Tx) -> None:
    fresh, recent, old, unused = [await access_keys.add(tx, key_of()) for _ in range(4)]
    await put(tx, "access_key", recent.id, last_used_at=-60)
    await put(tx, "access_key", old.id, last_used_at=-60.001)
    await access_keys.used(tx, [fresh.key_id, recent.key_id, old.key_id, "unknown"])
    for key, ago in ((fresh, 0.0), (recent, -60.0), (old, 0.0)):
        assert await seconds_until(tx, "access_key", key.id, "last_used_at") == ago
    assert (await row_of(tx, "access_key", unused.id)).last_used_at is None
