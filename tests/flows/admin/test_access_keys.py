"""Administration of access keys: shown once, stored as digests, ended everywhere at once."""

from datetime import timedelta

import pytest

from gateway.core.crypto.access_keys import parse_key
from gateway.core.model import KeyKind, Scope
from gateway.core.roles import Role, role_of, scopes_of
from gateway.errors import BadRequest, Conflict, NotFound
from gateway.flows.admin.access_keys import SCOPES, create_key, list_keys, revoke_key, rotate_key
from gateway.store.tenancy import audit
from gateway.store.tenancy.audit import AuditFilter
from tests.flows.world import World


async def actions(world: World) -> list[tuple[str, str]]:
    async with world.deps.db.single() as tx:
        return [
            (entry.action, entry.subject)
            for entry in await audit.page(tx, AuditFilter(), before=None, limit=10)
        ]


async def test_a_key_is_stored_by_digest_alone(world: World):
    tenant = await world.tenant()
    key, text = await create_key(
        world.deps, "jgw_1", kind=KeyKind.TENANT, name="ci", tenant="acme", expires_seconds=60.0
    )
    parsed = parse_key(text)
    assert parsed is not None
    assert (key.key_id, key.digest) == parsed
    assert (key.kind, key.name, key.tenant_id, key.tenants) == ("tenant", "ci", tenant.id, None)
    assert key.expires_at is not None
    assert abs(key.expires_at - key.created_at - timedelta(seconds=60)) < timedelta(seconds=5)
    row = await world.row("SELECT * FROM access_key")
    assert not any(text in str(value) for value in row.values())
    assert (await actions(world))[0] == ("key.created", key.key_id)


async def test_keys_differ(world: World):
    texts = {
        (await create_key(world.deps, "t", kind=KeyKind.OPERATOR, name="o"))[1] for _ in range(5)
    }
    assert len(texts) == 5


@pytest.mark.parametrize("kind", list(KeyKind))
async def test_without_scopes_a_key_has_all_of_its_kind(world: World, kind: KeyKind):
    key, _ = await create_key(world.deps, "t", kind=kind, name="k")
    assert key.scopes == (frozenset(Scope) if kind is KeyKind.OPERATOR else SCOPES[kind])
    assert (Scope.ADMIN in key.scopes) == (kind is KeyKind.OPERATOR)


async def test_scopes_are_limited_to_the_kind(world: World):
    wanted = frozenset({"jobs:read", "admin"})
    with pytest.raises(BadRequest, match="a tenant key cannot have admin"):
        await create_key(world.deps, "t", kind=KeyKind.TENANT, name="k", scopes=wanted)
    key, _ = await create_key(
        world.deps, "t", kind=KeyKind.TENANT, name="k", scopes=frozenset({"jobs:read"})
    )
    assert key.scopes == {"jobs:read"}
    none, _ = await create_key(world.deps, "t", kind=KeyKind.TENANT, name="k", scopes=frozenset())
    assert none.scopes == frozenset()


async def test_a_service_key_is_limited_to_tenants_that_exist(world: World):
    acme, other = await world.tenant(), await world.tenant("other")
    key, _ = await create_key(
        world.deps, "t", kind=KeyKind.SERVICE, name="s", allowed_tenants=["acme", "other"]
    )
    assert key.tenants == {acme.id, other.id}
    with pytest.raises(BadRequest, match="tenants: there is no tenant 'none'"):
        await create_key(
            world.deps, "t", kind=KeyKind.SERVICE, name="s", allowed_tenants=["acme", "none"]
        )
    with pytest.raises(NotFound, match="'none'"):
        await create_key(world.deps, "t", kind=KeyKind.TENANT, name="s", tenant="none")


async def test_a_rotated_key_lives_on_for_an_overlap(world: World):
    await world.tenant()
    old, old_text = await create_key(
        world.deps,
        "t",
        kind=KeyKind.TENANT,
        name="ci",
        tenant="acme",
        scopes=frozenset({"jobs:read"}),
    )
    new, text = await rotate_key(world.deps, "t", old.key_id, overlap_seconds=60)
    assert text != old_text
    assert (new.kind, new.name, new.tenant_id, new.scopes) == (
        old.kind,
        old.name,
        old.tenant_id,
        old.scopes,
    )
    assert new.expires_at is None
    left = await world.value(
        "SELECT EXTRACT(epoch FROM expires_at - now())::float8 FROM access_key WHERE key_id = $1",
        old.key_id,
    )
    assert 50 < left <= 60
    assert world.queue.announced[-1] == f"key:{old.key_id}"
    assert (await actions(world))[0] == ("key.rotated", old.key_id)
    await rotate_key(world.deps, "t", old.key_id, overlap_seconds=3600)
    later = await world.value(
        "SELECT EXTRACT(epoch FROM expires_at - now())::float8 FROM access_key WHERE key_id = $1",
        old.key_id,
    )
    assert later <= 60, "an overlap never lengthens a life"


async def test_a_key_is_revoked_at_once_and_only_then_not_rotated(world: World):
    key, _ = await create_key(world.deps, "t", kind=KeyKind.OPERATOR, name="o")
    revoked = await revoke_key(world.deps, "t", key.key_id)
    assert revoked.revoked_at is not None
    assert (await revoke_key(world.deps, "t", key.key_id)).revoked_at == revoked.revoked_at
    assert world.queue.announced == [f"key:{key.key_id}"] * 2
    assert (await actions(world))[0] == ("key.revoked", key.key_id)
    with pytest.raises(Conflict, match="revoked"):
        await rotate_key(world.deps, "t", key.key_id, overlap_seconds=0)


async def test_a_key_that_is_missing_cannot_be_ended(world: World):
    with pytest.raises(NotFound, match="no key 0123"):
        await rotate_key(world.deps, "t", "0123", overlap_seconds=0)
    with pytest.raises(NotFound, match="no key 0123"):
        await revoke_key(world.deps, "t", "0123")
    assert await actions(world) == []


async def test_an_operator_key_is_for_all_tenants(world: World):
    with pytest.raises(BadRequest, match="tenants: an operator key is for all tenants"):
        await create_key(world.deps, "t", kind=KeyKind.OPERATOR, name="k", allowed_tenants=["acme"])


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_is_stored_as_scopes(world: World, role: Role):
    key, _ = await create_key(world.deps, "t", kind=KeyKind.OPERATOR, name="o", role=role)
    assert key.scopes == scopes_of(role)
    assert role_of(key.scopes) is role
    assert (await rotate_key(world.deps, "t", key.key_id, overlap_seconds=0))[
        0
    ].scopes == key.scopes


async def test_a_role_is_for_operator_keys_and_for_no_scopes(world: World):
    with pytest.raises(BadRequest, match="role: is for operator keys; a service key takes scopes"):
        await create_key(world.deps, "t", kind=KeyKind.SERVICE, name="s", role=Role.VIEWER)
    with pytest.raises(BadRequest, match="role: cannot be combined with scopes"):
        await create_key(
            world.deps,
            "t",
            kind=KeyKind.OPERATOR,
            name="o",
            role=Role.VIEWER,
            scopes=frozenset({"admin"}),
        )
    with pytest.raises(BadRequest, match="a service key cannot have support"):
        await create_key(
            world.deps, "t", kind=KeyKind.SERVICE, name="s", scopes=frozenset({"support"})
        )
    assert await world.rows("SELECT 1 FROM access_key") == []


@pytest.mark.parametrize(
    ("stored", "role"),
    [
        (["admin", "admin:read"], Role.OPERATOR),
        (["admin"], Role.OPERATOR),
        (["admin:read"], Role.VIEWER),
        ([], None),
    ],
)
async def test_a_key_from_before_there_were_roles_has_one(
    world: World, stored: list[str], role: Role | None
):
    made, _ = await create_key(world.deps, "t", kind=KeyKind.OPERATOR, name="o")
    await world.run("UPDATE access_key SET scopes = $1 WHERE key_id = $2", stored, made.key_id)
    (key,) = await list_keys(world.deps, None)
    assert role_of(key.scopes) is role
    assert key.scopes == (scopes_of(role) if role else frozenset())
