"""The catalogue: passed on from the upstream, remembered for a minute, served when it is down."""

import pytest

from gateway.core.crypto.cipher import Cipher
from gateway.errors import CredentialMissing, SecretSealed, UpstreamTimeout, UpstreamUnavailable
from gateway.flows.upstream import passthrough
from gateway.flows.upstream.passthrough import Workflows, access_of, upload
from gateway.ports import Busy, Denied, Unknown, Upload, UpstreamProblem, Workflow
from tests.flows.world import World


def some(count: int, start: int = 0) -> list[Workflow]:
    names = [f"w{n:03}" for n in range(start, start + count)]
    return [Workflow(name, name.upper(), name, f'{{"id":"{name}"}}') for name in names]


async def test_a_page_is_cut_from_all_that_the_upstream_has(world: World):
    tenant = await world.tenant()
    world.upstream.will("workflows", some(100), some(50, 100))
    known = Workflows(world.deps)
    assert await known.page(tenant.id, 0, 2) == some(2)
    assert await known.page(tenant.id, 2, 60) == some(30, 120)
    assert await known.page(tenant.id, 9, 60) == []
    assert world.upstream.count("workflows") == 2


async def test_an_endless_catalogue_is_cut_off(world: World):
    tenant = await world.tenant()
    world.upstream.always["workflows"] = some(100)
    assert len(await Workflows(world.deps).page(tenant.id, 0, 10_000)) == 2000
    assert world.upstream.count("workflows") == 20


async def test_it_is_asked_again_after_a_minute(world: World):
    tenant = await world.tenant()
    known = Workflows(world.deps)
    world.upstream.will("workflows", some(1), some(2))
    assert len(await known.page(tenant.id, 0, 9)) == 1
    world.clock.advance(59)
    assert len(await known.page(tenant.id, 0, 9)) == 1
    world.clock.advance(2)
    assert len(await known.page(tenant.id, 0, 9)) == 2


async def test_each_tenant_has_its_own(world: World):
    acme, other = await world.tenant(), await world.tenant("other")
    known = Workflows(world.deps)
    world.upstream.will("workflows", some(1), some(2))
    assert len(await known.page(acme.id, 0, 9)) == 1
    assert len(await known.page(other.id, 0, 9)) == 2


async def test_what_was_known_is_served_while_the_upstream_is_down(world: World):
    tenant = await world.tenant()
    known = Workflows(world.deps)
    world.upstream.will("workflows", some(3))
    await known.page(tenant.id, 0, 9)
    world.clock.advance(61)
    world.upstream.always["workflows"] = Unknown("timeout")
    assert await known.page(tenant.id, 0, 9) == some(3)
    assert await known.named(tenant.id, "w002") == some(3)[2]


async def test_a_catalogue_that_breaks_off_is_not_taken_for_whole(world: World):
    tenant = await world.tenant()
    world.upstream.will("workflows", some(100), Busy("busy"))
    with pytest.raises(UpstreamUnavailable, match="busy"):
        await Workflows(world.deps).page(tenant.id, 0, 9)


async def test_a_workflow_is_found_by_slug_or_not_at_all(world: World):
    tenant, bare = await world.tenant(), await world.tenant("bare", credential=False)
    known = Workflows(world.deps)
    world.upstream.will("workflows", Unknown("timeout"), some(2))
    assert await known.named(tenant.id, "w001") is None
    assert await known.named(tenant.id, "w001") == some(2)[1]
    assert await known.named(tenant.id, "other") is None
    assert await known.named(bare.id, "w001") is None


async def test_only_so_many_tenants_are_remembered(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(passthrough, "_TENANTS", 1)
    acme, other = await world.tenant(), await world.tenant("other")
    known = Workflows(world.deps)
    for tenant in (acme, other, other, acme):
        await known.page(tenant.id, 0, 9)
    assert world.upstream.count("workflows") == 3


async def test_an_upload_is_passed_on(world: World):
    tenant = await world.tenant()
    assert await upload(world.deps, tenant.id) == Upload("https://put", "https://get")


@pytest.mark.parametrize(
    ("answer", "error", "status", "match"),
    [
        (Busy("too many requests", 7.0), UpstreamUnavailable, 502, "no usable answer: too many"),
        (Unknown("read timeout", 7.0), UpstreamTimeout, 504, "read timeout"),
        (Denied(402, UpstreamProblem("", "", "")), UpstreamUnavailable, 502, "status 402"),
    ],
)
async def test_callers_that_wait_are_told_of_trouble(
    world: World, answer: object, error: type[UpstreamUnavailable], status: int, match: str
):
    tenant = await world.tenant()
    world.upstream.will("upload", answer)
    with pytest.raises(error, match=match) as caught:
        await upload(world.deps, tenant.id)
    assert type(caught.value).status == status
    assert caught.value.retry_after == (None if isinstance(answer, Denied) else 7.0)


async def test_without_a_credential_nothing_is_asked(world: World):
    tenant = await world.tenant(credential=False)
    with pytest.raises(CredentialMissing):
        await upload(world.deps, tenant.id)
    with pytest.raises(CredentialMissing):
        await Workflows(world.deps).page(tenant.id, 0, 9)
    assert world.upstream.calls == []


async def test_a_credential_that_cannot_be_opened_is_not_honoured(world: World):
    tenant = await world.tenant()
    blind = world.other_process(cipher=Cipher([b"x" * 32]))
    with pytest.raises(SecretSealed, match=r"master key .* opens the tenant's credential"):
        await access_of(blind.deps, tenant.id)
