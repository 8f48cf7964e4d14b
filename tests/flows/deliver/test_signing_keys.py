"""Keys and custom headers: sealed for their own row, open only in memory."""

import pytest

from gateway.core.crypto.cipher import CannotOpenError, Cipher
from gateway.core.webhooks.signing import Ed25519Key, HmacKey
from gateway.flows.deliver.endpoints import EndpointSpec, create_endpoint
from gateway.flows.deliver.signing_keys import live_keys, new_key, open_headers, seal_headers
from gateway.flows.deliver.signing_secrets import rotate_secret
from tests.flows.scenes import OTHER
from tests.flows.world import HOOK, World


async def test_the_keys_of_several_receivers_are_read_at_once_newest_first(world: World):
    tenant = await world.tenant(credential=False)
    first, old = await create_endpoint(world.deps, tenant.id, EndpointSpec(HOOK))
    second, other = await create_endpoint(
        world.deps, tenant.id, EndpointSpec(OTHER), algorithm="v1a"
    )
    new = await rotate_secret(world.deps, tenant.id, first.id, overlap=60, algorithm="v1a")
    receivers = [(tenant.id, first.id), (tenant.id, second.id)]
    async with world.deps.db.single() as tx:
        keys = await live_keys(tx, world.deps, [*receivers, receivers[0]])
        assert await live_keys(tx, world.deps, []) == {}
    assert keys == {receivers[0]: [new, old], receivers[1]: [other]}
    assert [type(key) for key in keys[receivers[0]]] == [Ed25519Key, HmacKey]
    assert keys[tenant.id, None] == []


async def test_a_key_that_no_master_key_opens_leaves_the_others(world: World):
    tenant = await world.tenant(credential=False)
    endpoint, old = await create_endpoint(world.deps, tenant.id, EndpointSpec(HOOK))
    blind = world.other_process(cipher=Cipher([b"x" * 32]))
    receiver = (tenant.id, endpoint.id)
    new = await rotate_secret(blind.deps, tenant.id, endpoint.id, overlap=60)
    async with world.deps.db.single() as tx:
        assert await live_keys(tx, world.deps, [receiver]) == {receiver: [old]}
        assert await live_keys(tx, blind.deps, [receiver]) == {receiver: [new]}


def test_fresh_keys_are_of_their_kind_and_never_the_same(world: World):
    for algorithm, kind in (("v1", HmacKey), ("v1a", Ed25519Key)):
        keys = {bytes(new_key(world.deps, algorithm)) for _ in range(20)}
        assert {len(key) for key in keys} == {32}
        assert len(keys) == 20
        assert isinstance(new_key(world.deps, algorithm), kind)


def test_headers_open_only_where_they_were_sealed(world: World):
    deps, ids = world.deps, world.deps.ids
    tenant, endpoint = ids.uuid(), ids.uuid()
    sealed = seal_headers(deps, tenant, endpoint, {"X-Key": "s3cr3t", "x-other": ""})
    assert sealed is not None
    assert b"s3cr3t" not in sealed
    assert open_headers(deps, tenant, endpoint, sealed) == {"x-key": "s3cr3t", "x-other": ""}
    for of in ((ids.uuid(), endpoint), (tenant, ids.uuid())):
        with pytest.raises(CannotOpenError):
            open_headers(deps, *of, sealed)


def test_no_headers_are_nothing_to_seal(world: World):
    deps, ids = world.deps, world.deps.ids
    tenant, endpoint = ids.uuid(), ids.uuid()
    assert seal_headers(deps, tenant, endpoint, {}) is None
    assert open_headers(deps, tenant, endpoint, None) == {}
    assert open_headers(deps, tenant, None, b"never looked at") == {}
