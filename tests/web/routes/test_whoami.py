"""GET /whoami: what an access key may do."""

import pytest

from gateway import __version__
from gateway.core.model import KeyKind
from gateway.flows.admin.tenants import suspend_tenant
from tests.web.conftest import World, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_tenants_key(world: World):
    slug = await world.tenant("who")
    told = await world.get("/v1/whoami", slug)
    assert (told["kind"], told["tenant"], told["tenants"]) == ("tenant", slug, None)
    assert "jobs:write" in told["scopes"]
    assert world.keys[slug].startswith(f"jgw_{told['keyId']}_")
    assert (told["expiresAt"], told["version"]) == (None, __version__)
    assert await world.get("/api/whoami", slug) == told


async def test_a_suspended_tenant_may_call_it(world: World):
    slug = await world.tenant("held")
    await suspend_tenant(world.deps, "test", slug, suspended=True)
    assert (await world.get("/v1/whoami", slug))["tenant"] == slug


async def test_a_service_and_an_operator(world: World):
    slug = await world.tenant("served")
    service = await world.key(KeyKind.SERVICE, allowed_tenants=[slug])
    told = await world.get("/v1/whoami", service)
    assert (told["kind"], told["tenant"], told["tenants"]) == ("service", None, [slug])
    for path in ("/v1/whoami", "/admin/v1/whoami"):
        told = await world.get(path, world.operator)
        assert (told["kind"], told["tenant"], told["tenants"]) == ("operator", None, None)


async def test_without_a_valid_key(world: World):
    problem(await world.call("GET", "/v1/whoami"), 401, "UNAUTHORIZED")
    problem(await world.call("GET", "/v1/whoami", world.operator[:-1] + "!"), 401, "UNAUTHORIZED")
    problem(await world.call("GET", "/v1/whoami?x=1", world.operator), 400, "BAD_REQUEST")
