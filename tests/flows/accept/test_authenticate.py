"""Identify: whose request it is, remembered for seconds and forgotten on demand."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest
import pytest_asyncio

from gateway.core.crypto.access_keys import make_key
from gateway.core.model import KeyKind, Limits
from gateway.errors import NotFound, Unauthorized
from gateway.flows.accept import authenticate
from gateway.flows.accept.authenticate import Authenticator, TtlCache
from gateway.flows.admin.access_keys import create_key, revoke_key, rotate_key
from gateway.flows.admin.tenants import delete_tenant, suspend_tenant
from gateway.ports import Allowance
from gateway.store.database import Tx
from tests.fakes import FakeLimiter
from tests.flows.world import World


async def operator(world: World, **options) -> tuple[str, str]:
    key, text = await create_key(world.deps, "t", kind=KeyKind.OPERATOR, name="o", **options)
    return key.key_id, text


@pytest_asyncio.fixture(loop_scope="module")
async def identities(world: World) -> Authenticator:
    return Authenticator(world.deps)


async def test_a_live_key_is_known(world: World, identities: Authenticator):
    key_id, text = await operator(world)
    assert (await identities.identify(text)).key_id == key_id


@pytest.mark.parametrize("text", ["", "jgw_", "Bearer x", "jgw_" + "0" * 66, "ü" * 70])
async def test_what_cannot_be_a_key_is_refused_unasked(identities: Authenticator, text: str):
    with pytest.raises(Unauthorized, match="malformed"):
        await identities.identify(text)


async def test_an_unknown_key_and_a_wrong_secret_are_told_alike(
    world: World, identities: Authenticator
):
    key_id, _ = await operator(world)
    wrong = make_key(bytes.fromhex(key_id), bytes(32)).text
    unknown = make_key(bytes(8), bytes(32)).text
    said = []
    for text in (wrong, unknown):
        with pytest.raises(Unauthorized) as caught:
            await identities.identify(text)
        said.append(caught.value.detail)
    assert said == ["The access key is not known."] * 2


async def test_a_revoked_key_is_refused_at_once_where_it_is_announced(
    world: World, identities: Authenticator
):
    world.queue.listen(identities.forget)
    key_id, text = await operator(world)
    await identities.identify(text)
    await revoke_key(world.deps, "t", key_id)
    with pytest.raises(Unauthorized, match="revoked or has expired"):
        await identities.identify(text)


async def test_a_revoked_key_is_refused_after_seconds_where_the_news_was_lost(
    world: World, identities: Authenticator
):
    key_id, text = await operator(world)
    await identities.identify(text)
    await revoke_key(world.deps, "t", key_id)
    world.clock.advance(4)
    assert (await identities.identify(text)).key_id == key_id
    world.clock.advance(2)
    with pytest.raises(Unauthorized):
        await identities.identify(text)


async def test_a_key_ends_with_its_time_though_it_is_remembered(
    world: World, identities: Authenticator
):
    _, text = await operator(world, expires_seconds=60.0)
    await identities.identify(text)
    world.clock.ahead = 61
    with pytest.raises(Unauthorized):
        await identities.identify(text)


async def test_a_rotated_key_and_its_successor_are_both_known(
    world: World, identities: Authenticator
):
    key_id, old = await operator(world)
    _, new = await rotate_key(world.deps, "t", key_id, overlap_seconds=60)
    assert (await identities.identify(old)).key_id == key_id
    assert (await identities.identify(new)).key_id != key_id


async def test_the_use_of_a_key_is_noted_once_a_minute(world: World, identities: Authenticator):
    _, text = await operator(world)
    for _ in range(3):
        await identities.identify(text)
    first = await world.value("SELECT last_used_at FROM access_key")
    assert first is not None
    await world.run("UPDATE access_key SET last_used_at = NULL")
    await identities.identify(text)
    assert await world.value("SELECT last_used_at FROM access_key") is None
    world.clock.advance(61)
    await identities.identify(text)
    assert await world.value("SELECT last_used_at FROM access_key") is not None


async def test_a_tenant_is_known_by_slug_and_by_id(world: World, identities: Authenticator):
    tenant, bare = await world.tenant(), await world.tenant("bare", credential=False)
    assert (await identities.tenant("acme")).tenant == tenant
    assert (await identities.tenant("acme")).has_credential
    assert not (await identities.tenant("bare")).has_credential
    assert (await identities.tenant_by_id(bare.id)).tenant == bare


async def test_a_tenant_that_is_not_there_is_not_found(identities: Authenticator):
    with pytest.raises(NotFound, match="'none'"):
        await identities.tenant("none")
    with pytest.raises(NotFound, match="access key"):
        await identities.tenant_by_id(uuid4())


async def test_what_is_remembered_of_a_tenant_is_forgotten_by_name(
    world: World, identities: Authenticator
):
    await world.tenant()
    await world.tenant("other")
    for slug in ("acme", "other"):
        await identities.tenant(slug)
        await suspend_tenant(world.deps, "t", slug, suspended=True)
    identities.forget("tenant:acme")
    assert (await identities.tenant("acme")).tenant.suspended_at is not None
    assert (await identities.tenant("other")).tenant.suspended_at is None


async def test_what_is_announced_of_other_things_is_passed_over(
    world: World, identities: Authenticator
):
    await world.tenant()
    await identities.tenant("acme")
    await suspend_tenant(world.deps, "t", "acme", suspended=True)
    for subject in ("feed", f"jobs:{uuid4()}", "acme"):
        identities.forget(subject)
    assert (await identities.tenant("acme")).tenant.suspended_at is None


async def test_requests_are_counted_where_a_tenant_has_a_rate(world: World):
    bare, slow = await world.tenant(), await world.tenant("slow", limits=Limits(max_rate=3))
    limiter = FakeLimiter(1)
    identities = Authenticator(world.other_process(limiter=limiter).deps)
    assert await identities.allowance(bare) is None
    assert await identities.allowance(slow) == Allowance(True, 3, 0, 0.5)
    assert await identities.allowance(slow) == Allowance(False, 3, 0, 0.5)


async def test_who_has_no_rate_of_its_own_has_that_of_the_policy(world: World):
    bare, slow = await world.tenant(), await world.tenant("slow", limits=Limits(max_rate=3))
    policy = replace(world.deps.policy, max_rate=9)
    identities = Authenticator(world.other_process(limiter=FakeLimiter(5), policy=policy).deps)
    found = [await identities.allowance(tenant) for tenant in (bare, slow)]
    assert [one and one.limit for one in found] == [9, 3]


async def test_everything_can_be_forgotten(world: World, identities: Authenticator):
    tenant = await world.tenant()
    key_id, text = await operator(world)
    await identities.identify(text)
    await identities.tenant_by_id(tenant.id)
    await revoke_key(world.deps, "t", key_id)
    await delete_tenant(world.deps, "t", "acme")
    assert (await identities.tenant_by_id(tenant.id)).tenant == tenant
    identities.forget("*")
    with pytest.raises(NotFound):
        await identities.tenant_by_id(tenant.id)
    with pytest.raises(Unauthorized):
        await identities.identify(text)


async def test_only_so_much_is_remembered(
    world: World, identities: Authenticator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(authenticate, "_MAX_ENTRIES", 1)
    for slug in ("acme", "other"):
        await world.tenant(slug)
        await identities.tenant(slug)
    await suspend_tenant(world.deps, "t", "acme", suspended=True)
    assert (await identities.tenant("acme")).tenant.suspended_at is not None


class Gate:
    """A question that is answered only once it is let through, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.crash_point = asyncio.Event()
        self.open = asyncio.Event()

    async def find(self, _tx: Tx, key: str) -> str:
        self.asked += 1
        answer = f"{key} {self.asked}"
        self.crash_point.set()
        await self.open.wait()
        return answer


async def test_those_who_ask_at_once_share_one_question(world: World):
    fresh, gate = TtlCache[str, str](world.deps), Gate()
    asking = [asyncio.create_task(fresh.get("k", gate.find)) for _ in range(20)]
    await asyncio.sleep(0)
    gate.open.set()
    assert set(await asyncio.gather(*asking)) == {"k 1"}
    assert await fresh.get("k", gate.find) == "k 1"


@pytest.mark.parametrize("forget", ["drop", "clear"])
async def test_an_answer_from_before_a_change_is_not_remembered(world: World, forget: str):
    fresh, gate = TtlCache[str, str](world.deps), Gate()
    asking = asyncio.create_task(fresh.get("k", gate.find))
    await gate.crash_point.wait()
    if forget == "drop":
        fresh.drop("k")
    else:
        fresh.clear()
    gate.open.set()
    assert await asking == "k 1"
    assert await fresh.get("k", gate.find) == "k 2"


async def test_a_key_that_was_known_is_looked_at_again(world: World, identities: Authenticator):
    world.queue.listen(identities.forget)
    key_id, _ = await operator(world)
    await identities.live(key_id)
    await revoke_key(world.deps, "t", key_id)
    with pytest.raises(Unauthorized, match="revoked or has expired"):
        await identities.live(key_id)
    with pytest.raises(Unauthorized, match="not known"):
        await identities.live("0" * 16)
