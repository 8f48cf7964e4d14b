"""Administration of tenants and credentials: noted, announced, sealed, and each tenant's own."""

import asyncio
import json
from dataclasses import replace

import pytest

from gateway.core.crypto.cipher import Cipher, Secret
from gateway.core.model import KeyKind, Limits
from gateway.core.portal.look import PortalLook
from gateway.core.webhooks.signing import parse_secret
from gateway.errors import (
    BadRequest,
    Conflict,
    NotFound,
    Unavailable,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.flows.admin.access_keys import create_key
from gateway.flows.admin.portal_look import put_look
from gateway.flows.admin.saved_views import ViewOwner, save_view
from gateway.flows.admin.sessions import make_portal_link, redeem
from gateway.flows.admin.tenants import (
    TenantUpdate,
    change_tenant,
    create_tenant,
    delete_tenant,
    get_tenant,
    put_credential,
    suspend_tenant,
)
from gateway.flows.bulk.deliveries import resend
from gateway.flows.deliver.signing_secrets import default_secret
from gateway.ports import Busy, Denied, Unknown, UpstreamProblem
from gateway.store.delivery_search.filter import DeliveryFilter
from gateway.store.tenancy import audit, tenants
from gateway.store.tenancy.audit import AuditEntry, AuditFilter
from tests.flows.world import CALLBACK, HOOK, World


async def audited(world: World) -> list[AuditEntry]:
    async with world.deps.db.single() as tx:
        return await audit.page(tx, AuditFilter(), before=None, limit=100)


async def test_a_tenant_is_created_once_with_its_own_secret(world: World):
    made = await create_tenant(
        world.deps,
        "jgw_1",
        slug="acme",
        name="Acme",
        metadata='{"plan":"gold"}',
        limits=Limits(5, 6),
    )
    assert await get_tenant(world.deps, "acme") == made
    assert (made.slug, made.name, json.loads(made.metadata)) == ("acme", "Acme", {"plan": "gold"})
    assert (made.limits, made.suspended_at) == (Limits(5, 6), None)
    assert len(parse_secret(await default_secret(world.deps, made.id))) == 32
    assert world.queue.announced == ["tenant:acme"]
    (entry,) = await audited(world)
    assert (entry.key_id, entry.action, entry.subject) == ("jgw_1", "tenant.created", "acme")
    with pytest.raises(Conflict, match="'acme'"):
        await world.tenant("acme")
    assert len(await audited(world)) == 1


async def test_a_tenant_that_is_missing_cannot_be_administered(world: World):
    deps = world.deps
    acts = [
        get_tenant(deps, "none"),
        change_tenant(deps, "t", "none", TenantUpdate("x")),
        suspend_tenant(deps, "t", "none", suspended=True),
        delete_tenant(deps, "t", "none"),
        put_credential(deps, "t", "none", api_key=Secret("k"), base_url=None),
    ]
    for act in acts:
        with pytest.raises(NotFound, match="'none'"):
            await act
    assert await audited(world) == []


async def test_only_the_given_fields_of_a_tenant_change(world: World):
    before = await world.tenant(limits=Limits(5, 6, keep_jobs=30), metadata='{"a": 1}')
    renamed = await change_tenant(world.deps, "t", "acme", TenantUpdate("New"))
    assert (renamed.name, renamed.metadata, renamed.limits) == ("New", '{"a": 1}', before.limits)
    change = TenantUpdate(None, lambda _: "{}", {"max_queued": 60, "max_in_flight": None})
    changed = await change_tenant(world.deps, "t", "acme", change)
    assert (changed.name, changed.metadata) == ("New", "{}")
    assert changed.limits == Limits(60, None, keep_jobs=30)
    assert await get_tenant(world.deps, "acme") == changed
    latest, earlier = (await audited(world))[:2]
    assert (latest.action, latest.tenant) == ("tenant.changed", "acme")
    assert json.loads(earlier.detail) == {"changes": {"name": {"from": "Acme", "to": "New"}}}
    assert json.loads(latest.detail)["changes"] == {
        "limits.maxInFlight": {"from": 6, "to": None},
        "limits.maxQueued": {"from": 5, "to": 60},
        "metadata.a": {"from": 1, "to": None},
    }
    assert world.queue.announced[-1] == "tenant:acme"
    await change_tenant(world.deps, "t", "acme", change)
    assert (await audited(world))[0] == latest, "nothing has changed"


async def test_who_is_sent_a_traceparent_is_nobody_unless_an_operator_says_so(world: World):
    await world.tenant()
    assert (await get_tenant(world.deps, "acme")).send_traceparent == ()
    change = TenantUpdate(send_traceparent=["upstream", "receivers"])
    changed = await change_tenant(world.deps, "t", "acme", change)
    assert changed.send_traceparent == ("receivers", "upstream")
    renamed = await change_tenant(world.deps, "t", "acme", TenantUpdate("New"))
    assert renamed.send_traceparent == changed.send_traceparent
    nobody = await change_tenant(world.deps, "t", "acme", TenantUpdate(send_traceparent=()))
    assert nobody.send_traceparent == ()
    latest, _, first = (await audited(world))[:3]
    both = ["receivers", "upstream"]
    assert json.loads(first.detail) == {"changes": {"sendTraceparent": {"from": [], "to": both}}}
    assert json.loads(latest.detail) == {"changes": {"sendTraceparent": {"from": both, "to": []}}}


async def test_an_audit_tells_who_is_sent_a_traceparent_from_the_start(world: World):
    how = {"slug": "acme", "name": "Acme", "metadata": "{}", "limits": Limits()}
    made = await create_tenant(world.deps, "jgw_1", **how, send_traceparent=["upstream"])
    assert made.send_traceparent == ("upstream",)
    (entry,) = await audited(world)
    assert json.loads(entry.detail)["sendTraceparent"] == ["upstream"]


async def test_operators_who_change_a_tenant_at_once_do_not_undo_each_other(world: World):
    await world.tenant()
    fields = ("max_queued", "max_in_flight", "max_rate", "max_endpoints", "keep_jobs")
    await asyncio.gather(
        *[change_tenant(world.deps, "t", "acme", TenantUpdate(limits={name: 7})) for name in fields]
    )
    limits = (await get_tenant(world.deps, "acme")).limits
    assert {getattr(limits, name) for name in fields} == {7}


async def test_a_tenant_is_suspended_and_let_go_on(world: World):
    await world.tenant(credential=False)
    world.queue.wakes.clear()
    suspended = await suspend_tenant(world.deps, "t", "acme", suspended=True)
    assert suspended.suspended_at is not None
    again = await suspend_tenant(world.deps, "t", "acme", suspended=True)
    assert again.suspended_at == suspended.suspended_at
    assert world.queue.wakes == []
    resumed = await suspend_tenant(world.deps, "t", "acme", suspended=False)
    assert resumed.suspended_at is None
    assert world.queue.wakes == [("submit", 0.0)]
    assert [e.action for e in await audited(world)][:3] == [
        "tenant.resumed",
        "tenant.suspended",
        "tenant.suspended",
    ]
    assert world.queue.announced[-3:] == ["tenant:acme"] * 3


KEPT = {"usage_hourly", "usage_daily"}  # of a tenant that is erased
EMPTY = {
    "usage_hour",
    "usage_horizon",
    "prune_cursor",
    "job_key",
}  # here; tests/store looks into them


async def test_a_deletion_goes_on_where_it_was_cut_short(world: World):
    process = world.other_process(policy=replace(world.deps.policy, erase_batch=1))
    tenant = await world.tenant(hook=HOOK)
    await world.ended(tenant, 3)
    async with world.deps.db.begin() as tx:
        assert await tenants.erase_some(tx, tenant.id, 1)
    assert len(await world.rows("SELECT 1 FROM job")) == 2
    await delete_tenant(process.deps, "t", "acme")
    for table in ("job", "event", "delivery", "job_label", "tenant"):
        assert await world.rows(f"SELECT 1 FROM {table}") == [], table


async def test_an_erased_tenant_leaves_nothing_and_takes_nothing_of_others(world: World):
    for slug in ("acme", "other"):
        tenant = await world.tenant(slug, hook=HOOK)
        await world.ended(tenant, callback_url=CALLBACK)
        await world.ended(tenant, 2, batch_name="secret")
        await world.deliver()
        await world.accept(tenant)
        world.upstream.will("submit", Busy("busy"))
        await world.submit()
        # On a slow machine it would be due again while the next tenant's jobs are submitted.
        await world.run("UPDATE job SET next_at = now() + interval '1 h' WHERE state = 'accepted'")
        await create_key(world.deps, "t", kind=KeyKind.TENANT, name="k", tenant=slug)
        await put_look(world.deps, "test", tenant.slug, PortalLook(mode="dark"))
        await save_view(
            world.deps, "t", ViewOwner(tenant.id, ""), name="v", query="q", is_shared=False
        )
        link = await make_portal_link(world.deps, tenant, key_id=None)
        await redeem(world.deps, link.token, None)
        await resend(world.deps, DeliveryFilter(tenant.id))
    acme = await get_tenant(world.deps, "acme")
    both = {"name": "both", "allowed_tenants": ["acme", "other"]}
    await create_key(world.deps, "t", kind=KeyKind.SERVICE, **both)
    await delete_tenant(world.deps, "t", "acme")
    tables = await world.rows(
        "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        " WHERE a.attname = 'tenant_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND c.relnamespace = 'public'::regnamespace"
    )
    for (table,) in tables:
        kept = {row[0] for row in await world.rows(f"SELECT DISTINCT tenant_id FROM {table}")}
        assert (acme.id in kept) == (table in KEPT), table
        assert kept or table in EMPTY, table
    hours = await world.rows(
        "SELECT batch_name, sum(jobs) FROM usage_hourly WHERE tenant_id = $1 GROUP BY batch_name",
        acme.id,
    )
    assert [tuple(row) for row in hours] == [("", 3)]
    limited = await world.rows("SELECT tenants FROM access_key WHERE name = 'both'")
    assert [list(row.tenants) for row in limited] == [[tenant.id]]
    assert world.queue.announced[-1] == "*"
    assert (await audited(world))[0].action == "tenant.deleted"
    with pytest.raises(NotFound):
        await get_tenant(world.deps, "acme")


# --- credentials -----------------------------------------------------------------------------------


async def test_a_credential_is_tried_then_sealed_and_its_jobs_woken(world: World):
    await world.tenant(credential=False)
    world.queue.wakes.clear()
    (version,) = await put_credential(
        world.deps, "jgw_1", "acme", api_key=Secret("the-key"), base_url=None
    )
    assert (version.version, version.base_url) == (1, world.deps.upstream_url)
    assert (version.rejected_at, version.in_flight) == (None, 0)
    ((_, access),) = [one for one in world.upstream.asked if one[0] == "application"]
    assert (access.key, access.base_url) == (Secret("the-key"), world.deps.upstream_url)
    stored = await world.health()
    assert b"the-key" not in stored.sealed
    assert stored.id == access.credential_id
    assert world.queue.wakes == [("submit", 0.0), ("poll", 0.0)]
    assert world.queue.announced[-1] == "tenant:acme"
    entry = (await audited(world))[0]
    assert (entry.action, entry.subject) == ("credential.put", "acme")
    assert "the-key" not in entry.detail


async def test_versions_are_kept_newest_first(world: World):
    await world.tenant()
    await world.credential("acme", "second")
    versions = await put_credential(
        world.deps, "t", "acme", api_key=Secret("second"), base_url="https://eu.example.com"
    )
    assert [(v.version, v.base_url) for v in versions] == [
        (3, "https://eu.example.com"),
        (2, world.deps.upstream_url),
        (1, world.deps.upstream_url),
    ]


async def test_the_same_credential_again_is_no_new_version(world: World):
    await world.tenant()
    await world.credential("acme", "key-of-acme")
    assert (await world.health()).version == 1


async def test_a_credential_that_cannot_be_opened_is_replaced_by_the_same_key(world: World):
    await world.tenant()
    blind = world.other_process(cipher=Cipher([b"x" * 32]))
    await blind.credential("acme", "key-of-acme")
    assert (await world.health()).version == 2


async def test_two_that_rotate_at_once_make_two_versions(world: World):
    await world.tenant()
    await asyncio.gather(world.credential("acme", "b"), world.credential("acme", "c"))
    rows = await world.rows("SELECT version FROM credential ORDER BY version")
    assert [row[0] for row in rows] == [1, 2, 3]


@pytest.mark.parametrize(
    ("answer", "error", "match"),
    [
        (Denied(401, UpstreamProblem("", "", "")), BadRequest, "apiKey: .*status 401"),
        (Busy("busy", retry_after=7.0), UpstreamUnavailable, "busy"),
        (Unknown("timeout"), UpstreamTimeout, "timeout"),
    ],
)
async def test_a_credential_the_upstream_does_not_honour_is_not_stored(
    world: World, answer: object, error: type[Exception], match: str
):
    await world.tenant(credential=False)
    world.upstream.will("application", answer)
    with pytest.raises(error, match=match):
        await world.credential("acme", "bad")
    assert await world.value("SELECT count(*) FROM credential") == 0
    assert [entry.action for entry in await audited(world)] == ["tenant.created"]


async def test_an_act_that_fails_is_not_noted(world: World):
    await world.tenant()
    await world.rows("ALTER TABLE credential RENAME TO hidden")
    try:
        with pytest.raises(Unavailable) as caught:
            await world.credential("acme", "new")
    finally:
        await world.rows("ALTER TABLE hidden RENAME TO credential")
    assert "credential" in caught.value.cause
    assert [e.action for e in await audited(world)] == ["credential.put", "tenant.created"]
