"""Administration of endpoints: made and changed."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.crypto.cipher import Cipher
from gateway.core.model import Endpoint, Tenant
from gateway.core.webhooks.signing import Ed25519Key, HmacKey, SigningKey, format_secret
from gateway.errors import BadRequest, Conflict, SecretSealed
from gateway.flows.deliver.endpoints import (
    EndpointSpec,
    change_endpoint,
    check_callback,
    create_endpoint,
)
from gateway.flows.deliver.signing_keys import open_headers
from gateway.store.webhooks import endpoints
from tests.flows.scenes import OTHER, endpoint_row, owe
from tests.flows.world import HOOK, World

PRIVATE = "https://10.0.0.1"
FULL: dict[str, Any] = {
    "description": "d",
    "events": ("job.failed",),
    "headers": {"X-Key": "s3cr3t"},
    "schedule": (1, 60),
    "concurrency": 3,
    "rate_limit": 7,
}


async def create(
    world: World, algorithm: str = "v1", secret: str | None = None, **given: Any
) -> tuple[Tenant, Endpoint, SigningKey]:
    world.sender.refused[PRIVATE] = "it is private"
    tenant = await world.tenant(credential=False)
    fields: dict[str, Any] = {"url": HOOK} | given
    wanted = EndpointSpec(**fields)
    made = await create_endpoint(world.deps, tenant.id, wanted, algorithm=algorithm, secret=secret)
    return tenant, *made


async def find(world: World, endpoint: Endpoint) -> Endpoint | None:
    async with world.deps.db.single() as tx:
        return await endpoints.find(tx, endpoint.tenant_id, endpoint.id)


async def headers_of(world: World, endpoint: Endpoint) -> dict[str, str]:
    async with world.deps.db.single() as tx:
        sealed = await endpoints.sealed_headers(tx, endpoint.id)
    return open_headers(world.deps, endpoint.tenant_id, endpoint.id, sealed)


# --- Create -----------------------------------------------------------------------------------------


async def test_an_endpoint_is_created_as_it_is_wanted(world: World):
    twice: dict[str, Any] = FULL | {"events": ["job.failed", "job.failed"]}
    tenant, endpoint, _ = await create(world, **twice)
    assert (endpoint.tenant_id, endpoint.url, endpoint.algorithm) == (tenant.id, HOOK, "v1")
    assert (endpoint.description, endpoint.events) == ("d", ("job.failed",))
    assert (endpoint.delays, endpoint.concurrency, endpoint.rate_limit) == ((1, 60), 3, 7)
    assert endpoint.header_names == ("X-Key",)
    assert await find(world, endpoint) == endpoint
    assert await headers_of(world, endpoint) == {"x-key": "s3cr3t"}
    assert b"s3cr3t" not in (await endpoint_row(world)).headers_sealed


async def test_an_endpoint_made_of_a_url_has_the_defaults_of_the_gateway(world: World):
    _, endpoint, _ = await create(world)
    assert (endpoint.description, endpoint.events, endpoint.header_names) == ("", (), ())
    assert (endpoint.delays, endpoint.concurrency, endpoint.rate_limit) == (None, None, None)
    assert await headers_of(world, endpoint) == {}


@pytest.mark.parametrize(("algorithm", "kind"), [("v1", HmacKey), ("v1a", Ed25519Key)])
async def test_a_key_is_made_for_it_and_sealed(
    world: World, algorithm: str, kind: type[SigningKey]
):
    _, endpoint, key = await create(world, algorithm)
    assert isinstance(key, kind)
    assert len(key) == 32
    row = await world.row("SELECT * FROM signing_secret WHERE endpoint_id = $1", endpoint.id)
    assert bytes(key) not in row.sealed
    assert row.algorithm == endpoint.algorithm == algorithm
    assert (row.public_key is not None) is (algorithm == "v1a")


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("v1", HmacKey(b"s" * 24)), ("v1", HmacKey(b"s" * 64)), ("v1a", Ed25519Key(b"s" * 32))],
)
async def test_a_key_that_is_brought_is_taken(world: World, algorithm: str, key: SigningKey):
    assert (await create(world, algorithm, format_secret(key)))[2] == key


@pytest.mark.parametrize(
    ("algorithm", "secret", "match"),
    [
        ("v1", "whsec_short", "secret: "),
        ("v1", format_secret(b"s" * 23), "secret: .* 23"),
        ("v1", format_secret(b"s" * 65), "secret: .* 65"),
        ("v1", format_secret(Ed25519Key(b"s" * 32)), "secret: v1 is signed with"),
        ("v1a", format_secret(b"s" * 32), "secret: v1 is signed with"),
        ("v1a", "whpk_" + "A" * 43 + "=", "secret: .*public"),
    ],
)
async def test_a_secret_that_cannot_sign_is_refused(
    world: World, algorithm: str, secret: str, match: str
):
    with pytest.raises(BadRequest, match=match) as caught:
        await create(world, algorithm, secret)
    assert secret not in str(caught.value)
    assert await world.value("SELECT count(*) FROM endpoint") == 0


WRONG = [
    ({"events": ["job.failed", "job.sung", "job.bad"]}, "events: 'job.bad' is not one of job"),
    ({"url": PRIVATE}, "url: it is private"),
    ({"headers": {"Host": "x"}}, "headers: The header 'Host' belongs to the connection"),
    ({"headers": {"webhook-id": "x"}}, "headers: The header 'webhook-id' is reserved"),
    ({"headers": {"X-Key": "s3cr3t\n"}}, "headers: The header 'X-Key' has a value"),
]


@pytest.mark.parametrize(("given", "match"), WRONG)
async def test_a_wrong_field_is_named_and_nothing_is_stored(
    world: World, given: dict[str, Any], match: str
):
    with pytest.raises(BadRequest, match=match) as caught:
        await create(world, **given)
    assert "s3cr3t" not in str(caught.value)
    assert await world.value("SELECT count(*) FROM endpoint") == 0


async def test_a_refused_callback_names_its_field(world: World):
    world.sender.refused[PRIVATE] = "it is private"
    with pytest.raises(BadRequest) as caught:
        await check_callback(world.deps, "callbackUrl", PRIVATE)
    assert caught.value.errors[0].field == "callbackUrl"
    await check_callback(world.deps, "callbackUrl", HOOK)


# --- Change -----------------------------------------------------------------------------------------


async def test_only_the_given_fields_change(world: World):
    tenant, before, _ = await create(world, **FULL)
    world.queue.wakes.clear()
    after = await change_endpoint(world.deps, tenant.id, before.id, {"rate_limit": 9})
    assert (after.rate_limit, after.updated_at > before.updated_at) == (9, True)
    assert (after.url, after.description, after.events) == (HOOK, "d", ("job.failed",))
    assert (after.delays, after.concurrency, after.header_names) == ((1, 60), 3, ("X-Key",))
    assert await headers_of(world, after) == {"x-key": "s3cr3t"}
    assert world.queue.wakes == [("deliver", 0.0)]
    assert await find(world, after) == after


async def test_all_that_may_change_changes(world: World):
    tenant, before, _ = await create(world, **FULL)
    changes = {
        "url": OTHER,
        "description": "e",
        "events": ["job.deleted"],
        "headers": {"X-B": "b", "X-A": "a"},
        "schedule": [5],
        "concurrency": None,
        "rate_limit": None,
    }
    after = await change_endpoint(world.deps, tenant.id, before.id, changes)
    assert (after.url, after.description, after.events) == (OTHER, "e", ("job.deleted",))
    assert (after.delays, after.concurrency, after.rate_limit) == ((5,), None, None)
    assert after.header_names == ("X-A", "X-B")
    assert await headers_of(world, after) == {"x-a": "a", "x-b": "b"}
    bare = await change_endpoint(world.deps, tenant.id, before.id, {"headers": {}, "schedule": []})
    assert (bare.header_names, bare.delays) == ((), ())
    assert await headers_of(world, bare) == {}


@pytest.mark.parametrize(("changes", "match"), WRONG)
async def test_a_wrong_change_is_named_and_changes_nothing(
    world: World, changes: dict[str, Any], match: str
):
    tenant, before, _ = await create(world)
    with pytest.raises(BadRequest, match=match):
        await change_endpoint(world.deps, tenant.id, before.id, changes)
    assert await find(world, before) == before


async def test_a_url_that_stays_is_not_looked_at_again(world: World):
    """Its name may not resolve just now, which is no reason to refuse another field."""
    tenant, before, _ = await create(world)
    world.sender.refused[HOOK] = "its name does not resolve"
    after = await change_endpoint(world.deps, tenant.id, before.id, {"description": "e"})
    assert after.description == "e"
    with pytest.raises(BadRequest, match="url: it is private"):
        await change_endpoint(world.deps, tenant.id, before.id, {"url": PRIVATE})


async def test_a_changed_url_receives_earlier_deliveries_too(world: World):
    tenant = await owe(world, 2)
    endpoint = await endpoint_row(world)
    await change_endpoint(world.deps, tenant.id, endpoint.id, {"url": OTHER})
    await world.deliver()
    assert [sent.url for sent in world.sender.sent] == [OTHER, OTHER]


async def test_headers_are_merged_into_those_that_there_are(world: World):
    tenant = await world.tenant()
    wanted = EndpointSpec(HOOK, headers={"X-A": "1", "X-B": "2"})
    made, _ = await create_endpoint(world.deps, tenant.id, wanted)
    patch = {"x-a": None, "X-B": "[hidden]", "X-C": "3"}
    changed = await change_endpoint(world.deps, tenant.id, made.id, {}, patch)
    assert changed.header_names == ("X-B", "X-C")
    assert await headers_of(world, changed) == {"x-b": "2", "x-c": "3"}
    for bad, field in (
        ({"X-D": "[hidden]"}, r"headers\.X-D: .* no such header"),
        ({f"X-{n}": "a" for n in range(20)}, "headers: There are 22 headers"),
    ):
        with pytest.raises(BadRequest, match=field):
            await change_endpoint(world.deps, tenant.id, made.id, {}, bad)
    away = replace(world.deps, cipher=Cipher([bytes(range(32))]))
    with pytest.raises(SecretSealed):
        await change_endpoint(away, tenant.id, made.id, {}, {"X-D": "4"})
    assert await headers_of(world, changed) == {"x-b": "2", "x-c": "3"}


async def test_a_tenant_may_have_only_so_many(world: World):
    tenant = await world.tenant()
    for most in (1, 2):
        await create_endpoint(world.deps, tenant.id, EndpointSpec(HOOK), most=most)
        with pytest.raises(Conflict, match=f"has {most} endpoints"):
            await create_endpoint(world.deps, tenant.id, EndpointSpec(HOOK), most=most)
