"""Administration of endpoints and their signing secrets."""

from uuid import uuid4

import pytest

from gateway.core.signing import format_secret, parse_secret
from gateway.errors import BadRequest, NotFound
from gateway.flows.endpoints import (
    check_callback,
    create_endpoint,
    default_secret,
    delete_endpoint,
)
from gateway.store import endpoints
from tests.flows.world import HOOK, World


async def create(world: World, **given):
    tenant = await world.tenant(credential=False)
    wanted = {"url": HOOK, "description": "d", "events": [], "secret": None} | given
    return tenant, *await create_endpoint(world.deps, tenant.id, **wanted)


async def test_an_endpoint_is_created_with_a_secret_of_its_own(world: World):
    tenant, endpoint, secret = await create(world, events=["job.failed", "job.failed"])
    assert (endpoint.url, endpoint.description) == (HOOK, "d")
    assert endpoint.events == ("job.failed",)
    assert len(parse_secret(secret)) == 32
    assert secret != await default_secret(world.deps, tenant.id)
    row = await world.row("SELECT * FROM signing_secret WHERE endpoint_id = $1", endpoint.id)
    assert parse_secret(secret) not in row.sealed


async def test_a_given_secret_is_taken(world: World):
    given = format_secret(b"s" * 24)
    assert (await create(world, secret=given))[2] == given


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"secret": "whsec_short"}, "secret: "),
        ({"secret": format_secret(b"s" * 23)}, "secret: .* 23"),
        ({"events": ["job.failed", "job.sung", "job.bad"]}, "events: 'job.bad' is not one of job"),
        ({"url": "https://10.0.0.1"}, "url: it is private"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_stored(world: World, given: dict, match: str):
    world.sender.refused["https://10.0.0.1"] = "it is private"
    with pytest.raises(BadRequest, match=match):
        await create(world, **given)
    assert await world.value("SELECT count(*) FROM endpoint") == 0


async def test_a_refused_callback_names_its_field(world: World):
    world.sender.refused["https://10.0.0.1"] = "it is private"
    with pytest.raises(BadRequest) as caught:
        await check_callback(world.deps, "callbackUrl", "https://10.0.0.1")
    assert caught.value.errors[0].field == "callbackUrl"
    await check_callback(world.deps, "callbackUrl", HOOK)


async def test_a_deleted_endpoint_is_gone_and_what_it_was_owed_has_ended(world: World):
    tenant = await world.tenant(hook=HOOK)
    await world.ended(tenant)
    (delivery,) = await world.deliveries()
    await delete_endpoint(world.deps, tenant.id, delivery.endpoint_id)
    async with world.deps.db.single() as tx:
        assert await endpoints.of_tenant(tx, tenant.id) == []
    assert await world.deliver() == 0
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.last_error) == ("exhausted", "the endpoint was deleted")
    with pytest.raises(NotFound):
        await delete_endpoint(world.deps, tenant.id, delivery.endpoint_id)


async def test_nobody_deletes_what_is_not_there_or_not_theirs(world: World):
    acme, other = await world.tenant(), await world.tenant("other")
    endpoint_id = await world.endpoint(acme, HOOK)
    for tenant_id, wanted in ((acme.id, uuid4()), (other.id, endpoint_id)):
        with pytest.raises(NotFound):
            await delete_endpoint(world.deps, tenant_id, wanted)


async def test_a_tenant_without_default_secret_is_told(world: World):
    with pytest.raises(NotFound, match="default signing secret"):
        await default_secret(world.deps, uuid4())
