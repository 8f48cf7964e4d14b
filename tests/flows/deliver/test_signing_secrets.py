"""Signing secrets: read, rotated with an overlap that ends by itself, published."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
import standardwebhooks
from svix import webhooks as svix

from gateway import webhooks
from gateway.core.crypto.cipher import Cipher
from gateway.core.model import Tenant
from gateway.core.webhooks.signing import (
    Ed25519Key,
    HmacKey,
    SigningKey,
    format_secret,
    jwk,
    parse_secret,
    public_bytes,
    public_key,
)
from gateway.errors import BadRequest, NotFound, SecretSealed
from gateway.flows.deliver.endpoints import EndpointSpec, create_endpoint, delete_endpoint
from gateway.flows.deliver.signing_keys import live_keys
from gateway.flows.deliver.signing_secrets import (
    MAX_LIVE,
    default_secret,
    public_keys,
    rotate_secret,
)
from gateway.ports import Webhook
from tests.flows.scenes import endpoint_row
from tests.flows.world import CALLBACK, HOOK, World


async def receiver(world: World, algorithm: str = "v1") -> tuple[Tenant, UUID, SigningKey]:
    tenant = await world.tenant()
    wanted = EndpointSpec(HOOK, events=["job.succeeded"])
    endpoint, key = await create_endpoint(world.deps, tenant.id, wanted, algorithm=algorithm)
    return tenant, endpoint.id, key


async def sent_now(world: World, tenant: Tenant, **fields: Any) -> Webhook:
    await world.ended(tenant, **fields)
    assert await world.deliver() == 1
    return world.sender.sent[-1]


def proves(webhook: Webhook, *keys: SigningKey) -> bool:
    """Whether a receiver that holds these believes it."""
    secrets = [public_key(k) if isinstance(k, Ed25519Key) else format_secret(k) for k in keys]
    try:
        webhooks.verify(webhook.body, webhook.headers, secrets)
    except webhooks.WebhookVerificationError:
        return False
    return True


async def test_the_official_libraries_believe_it_with_every_live_secret(world: World):
    tenant, endpoint_id, first = await receiver(world)
    second, _ = [
        await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=60.0, algorithm=algorithm)
        for algorithm in ("v1", "v1a")
    ]
    webhook = await sent_now(world, tenant, params='{"Straße":"東京 \u2028 🎧"}')
    assert "🎧".encode() in webhook.body
    assert signatures(webhook) == ["v1a", "v1", "v1"]
    headers = dict(webhook.headers)
    for secret in map(format_secret, (first, second)):
        assert standardwebhooks.Webhook(secret).verify(webhook.body, headers)
        svix.Webhook(secret).verify(webhook.body, headers)
        changed = webhook.body.replace("🎧".encode(), "🎸".encode())
        with pytest.raises(svix.WebhookVerificationError):
            svix.Webhook(secret).verify(changed, headers)
    with pytest.raises(svix.WebhookVerificationError):
        svix.Webhook(format_secret(bytes(32))).verify(webhook.body, headers)


def signatures(webhook: Webhook) -> list[str]:
    """The versions of the signatures that it carries."""
    header = dict(webhook.headers)["webhook-signature"]
    return [entry.partition(",")[0] for entry in header.split(" ")]


@pytest.mark.parametrize("algorithm", ["v1", "v1a"])
async def test_a_webhook_verifies_with_its_key_and_with_no_other(world: World, algorithm: str):
    tenant, _, key = await receiver(world, algorithm)
    sent = await sent_now(world, tenant)
    assert signatures(sent) == [algorithm]
    assert proves(sent, key)
    default = parse_secret(await default_secret(world.deps, tenant.id))
    assert not proves(sent, default, HmacKey(b"x" * 32), Ed25519Key(b"x" * 32))


@pytest.mark.parametrize("algorithm", ["v1", "v1a"])
async def test_both_secrets_sign_until_the_overlap_has_passed(world: World, algorithm: str):
    tenant, endpoint_id, old = await receiver(world, algorithm)
    new = await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=3600)
    assert type(new) is type(old)
    assert new != old
    sent = await sent_now(world, tenant)
    assert (proves(sent, old), proves(sent, new)) == (True, True)
    await world.pass_time(3590)
    assert proves(await sent_now(world, tenant), old)
    await world.pass_time(20)
    sent = await sent_now(world, tenant)
    assert (proves(sent, old), proves(sent, new)) == (False, True)
    assert signatures(sent) == [algorithm]


async def test_without_an_overlap_the_old_secret_ends_at_once(world: World):
    tenant, endpoint_id, old = await receiver(world)
    new = await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=0)
    sent = await sent_now(world, tenant)
    assert (proves(sent, old), proves(sent, new)) == (False, True)


async def test_a_receiver_can_go_from_v1_to_v1a_with_both_side_by_side(world: World):
    tenant, endpoint_id, old = await receiver(world)
    new = await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=60, algorithm="v1a")
    assert isinstance(new, Ed25519Key)
    assert (await endpoint_row(world)).algorithm == "v1a"
    sent = await sent_now(world, tenant)
    assert signatures(sent) == ["v1a", "v1"], "the newest first"
    assert (proves(sent, old), proves(sent, new)) == (True, True)
    third = await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=60)
    assert isinstance(third, Ed25519Key), "it stays with what was last"
    back = await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=60, algorithm="v1")
    assert isinstance(back, HmacKey)
    assert (await endpoint_row(world)).algorithm == "v1"


async def test_at_most_five_sign_and_the_oldest_go_first(world: World):
    tenant, endpoint_id, first = await receiver(world)
    later = [
        await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=86_400) for _ in range(6)
    ]
    sent = await sent_now(world, tenant)
    assert len(signatures(sent)) == MAX_LIVE == 5
    assert [proves(sent, key) for key in (first, *later)] == [False] * 2 + [True] * 5


async def test_a_rotation_that_is_repeated_signs_once(world: World):
    tenant, endpoint_id, first = await receiver(world)
    new, old = format_secret(HmacKey(b"n" * 32)), format_secret(first)
    for secret in (new, new, old, old):
        await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=60.0, secret=secret)
    webhook = await sent_now(world, tenant)
    assert len(dict(webhook.headers)["webhook-signature"].split()) == 2
    assert proves(webhook, parse_secret(new))
    assert proves(webhook, first)
    assert (
        await world.value("SELECT count(*) FROM signing_secret WHERE endpoint_id = $1", endpoint_id)
        == 3
    )


async def test_a_secret_that_no_master_key_opens_can_be_rotated(world: World):
    tenant, endpoint_id, _ = await receiver(world)
    elsewhere = world.other_process(cipher=Cipher([b"x" * 32]))
    key = await rotate_secret(elsewhere.deps, tenant.id, endpoint_id, overlap=60.0)
    async with world.deps.db.single() as tx:
        found = await live_keys(tx, elsewhere.deps, [(tenant.id, endpoint_id)])
    assert found == {(tenant.id, endpoint_id): [key]}
    with pytest.raises(SecretSealed, match="master key"):
        await default_secret(elsewhere.deps, tenant.id)


async def test_rotations_at_once_leave_no_more_than_five(world: World):
    tenant, endpoint_id, _ = await receiver(world)
    for of in (endpoint_id, None):
        turns = [rotate_secret(world.deps, tenant.id, of, overlap=86_400) for _ in range(8)]
        await asyncio.gather(*turns)
        live = await world.value(
            "SELECT count(*) FROM signing_secret WHERE endpoint_id IS NOT DISTINCT FROM $1"
            " AND (expires_at IS NULL OR expires_at > now())",
            of,
        )
        assert live == 5


async def test_a_secret_that_is_brought_signs_and_must_fit(world: World):
    tenant, endpoint_id, _ = await receiver(world)
    mine = HmacKey(b"m" * 24)
    text = format_secret(mine)
    assert await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=0, secret=text) == mine
    assert proves(await sent_now(world, tenant), mine)
    for bad in ("whsec_x", format_secret(Ed25519Key(b"m" * 32))):
        with pytest.raises(BadRequest, match="secret: "):
            await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=0, secret=bad)
    assert proves(await sent_now(world, tenant), mine), "nothing was rotated"


async def test_the_default_secret_is_read_and_rotated(world: World):
    tenant = await world.tenant()
    old = await default_secret(world.deps, tenant.id)
    new = await rotate_secret(world.deps, tenant.id, None, overlap=60)
    assert await default_secret(world.deps, tenant.id) == format_secret(new) != old
    sent = await sent_now(world, tenant, callback_url=CALLBACK)
    assert (proves(sent, parse_secret(old)), proves(sent, new)) == (True, True)


async def test_a_rotation_without_a_secret_makes_one(world: World):
    tenant, endpoint_id, _ = await receiver(world)
    await world.run("DELETE FROM signing_secret")
    with pytest.raises(NotFound, match="default signing secret"):
        await default_secret(world.deps, tenant.id)
    assert isinstance(await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=0), HmacKey)
    assert isinstance(await rotate_secret(world.deps, tenant.id, None, overlap=0), HmacKey)


async def test_a_secret_that_is_missing_or_anothers_cannot_be_rotated(world: World):
    tenant, endpoint_id, key = await receiver(world)
    other = await world.tenant("other")
    for tenant_id, wanted in ((tenant.id, uuid4()), (other.id, endpoint_id)):
        with pytest.raises(NotFound):
            await rotate_secret(world.deps, tenant_id, wanted, overlap=0)
    assert proves(await sent_now(world, tenant), key)


async def test_the_public_keys_of_v1a_are_published_while_they_live(world: World):
    tenant, endpoint_id, old = await receiver(world, "v1a")
    another, _ = await create_endpoint(
        world.deps, tenant.id, EndpointSpec("https://b.example.com"), algorithm="v1a"
    )
    new = await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=60)
    mine = [jwk(public_bytes(new)), jwk(public_bytes(old))]
    assert await public_keys(world.deps, endpoint_id) == mine
    assert len(await public_keys(world.deps, another.id)) == 1
    assert await public_keys(world.deps, default_of=tenant.id) == []
    await world.pass_time(61)
    assert await public_keys(world.deps, endpoint_id) == mine[:1]
    await delete_endpoint(world.deps, tenant.id, another.id)
    assert await public_keys(world.deps, another.id) == []
    assert all(set(key) == {"kty", "crv", "x", "kid", "use", "alg"} for key in mine)
