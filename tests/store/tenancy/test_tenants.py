from uuid_utils.compat import uuid7

from gateway.core.model import Credential, Limits, Tenant
from gateway.core.portal.look import PortalLook
from gateway.store.database import Database, Tx
from gateway.store.job_search import lists
from gateway.store.job_search.lists import NewNote
from gateway.store.schema import metadata
from gateway.store.tenancy import access_keys, audit, portal_looks, sessions, tenants
from gateway.store.tenancy.tenants import CredentialInUse
from gateway.store.usage import drift, rollups
from gateway.store.webhooks import attempts, endpoints
from gateway.store.work import bulk_operations, circuit_breaker, polls, settlement
from gateway.store.work.settlement import JobEnd
from tests.builders import (
    add_credential,
    add_deliveries,
    add_endpoint,
    add_jobs,
    add_submitted,
    add_tenant,
    add_view,
    claim_deliveries,
    credential_of,
    key_of,
    put,
    recorded_of,
    row_of,
    session_of,
)
from tests.store.blocking import blocked


async def test_a_tenant_is_found_with_its_fields(tx: Tx) -> None:
    id_ = uuid7()
    made = await tenants.add(
        tx,
        id_,
        slug="acme",
        name="Acme",
        metadata='{"a": 1}',
        limits=Limits(5, 6),
        send_traceparent=["upstream", "receivers", "upstream"],
    )
    now, sent = (await row_of(tx, "tenant", id_)).now, ("receivers", "upstream")
    assert made == Tenant(id_, "acme", "Acme", '{"a": 1}', Limits(5, 6), sent, None, now, now)
    assert await tenants.by_id(tx, id_) == made
    assert await tenants.by_slug(tx, "acme") == made
    assert await tenants.by_id(tx, uuid7()) is None
    assert await tenants.by_slug(tx, "ACME") is None


async def test_a_slug_cannot_be_used_twice(tx: Tx) -> None:
    how = {"slug": "acme", "name": "A", "metadata": "{}", "limits": Limits()}
    first = await tenants.add(tx, uuid7(), **how)
    assert first is not None
    assert (first.limits, first.send_traceparent) == (Limits(None, None), ())
    assert await tenants.add(tx, uuid7(), **how) is None
    assert await tenants.by_slug(tx, "acme") == first


async def test_name_metadata_and_limits_of_a_tenant_change(tx: Tx) -> None:
    id_ = await add_tenant(tx)
    before = await tenants.by_id(tx, id_)
    assert before is not None
    await put(tx, "tenant", id_, created_at=-60, updated_at=-60)
    change = {"metadata": '{"b": 2}', "limits": Limits(1, None), "send_traceparent": ["upstream"]}
    after = await tenants.change(tx, id_, name="B", **change)
    assert after == await tenants.by_id(tx, id_)
    assert after is not None
    assert (after.slug, after.name, after.metadata) == (before.slug, "B", '{"b": 2}')
    assert (after.limits, after.send_traceparent) == (Limits(1, None), ("upstream",))
    assert (after.updated_at - after.created_at).total_seconds() == 60
    assert await tenants.change(tx, uuid7(), name="", **change) is None


async def test_suspending_a_tenant_twice_keeps_the_first_time(tx: Tx) -> None:
    id_ = await add_tenant(tx)
    suspended = await tenants.suspend(tx, id_, suspended=True)
    assert suspended is not None
    assert suspended.suspended_at == suspended.updated_at
    await put(tx, "tenant", id_, suspended_at=-60)
    again = await tenants.suspend(tx, id_, suspended=True)
    assert again is not None
    assert again.suspended_at is not None
    assert (again.updated_at - again.suspended_at).total_seconds() == 60
    free = await tenants.suspend(tx, id_, suspended=False)
    assert free is not None
    assert free.suspended_at is None
    assert await tenants.suspend(tx, uuid7(), suspended=True) is None


async def test_tenants_are_paged_by_slug(tx: Tx) -> None:
    for slug in ("c", "a", "b"):
        await tenants.add(tx, uuid7(), slug=slug, name="", metadata="{}", limits=Limits())
    assert [t.slug for t in await tenants.page(tx, None, 2)] == ["a", "b"]
    assert [t.slug for t in await tenants.page(tx, "b", 2)] == ["c"]
    assert await tenants.page(tx, "c", 2) == []


async def test_ids_are_given_for_slugs_that_exist(tx: Tx) -> None:
    id_ = await add_tenant(tx)
    slug = f"t-{id_.hex}"
    assert await tenants.ids_of(tx, [slug, "nobody"]) == {slug: id_}
    assert await tenants.ids_of(tx, []) == {}


async def test_a_second_lock_on_a_tenant_waits(db: Database) -> None:
    async with db.begin() as tx:
        one, other = await add_tenant(tx), await add_tenant(tx)

    async def lock() -> None:
        async with db.begin() as tx:
            await tenants.lock(tx, one)

    async with db.begin() as tx:
        await tenants.lock(tx, one)
        async with db.begin() as second:
            await tenants.lock(second, other)
        waiting = await blocked(db, lock())
    await waiting


# --- Credentials --------------------------------------------------------------------------------


async def test_the_newest_credential_is_used_and_the_old_ones_stay(tx: Tx) -> None:
    tenant, bare = await add_tenant(tx, credential=False), await add_tenant(tx, credential=False)
    assert await tenants.credential(tx, tenant) is None
    second, first = await add_credential(tx, tenant, 2), await add_credential(tx, tenant, 1)
    now = (await row_of(tx, "credential", second)).now
    newest = Credential(second, tenant, 2, "https://upstream.example/2", b"sealed", None, None, now)
    assert await tenants.credential(tx, tenant) == newest
    assert await tenants.credential_by_id(tx, second) == newest
    old = await tenants.credential_by_id(tx, first)
    assert old is not None
    assert old.version == 1
    assert await tenants.credential_by_id(tx, uuid7()) is None
    assert await tenants.credential(tx, bare) is None
    assert await tenants.credentials(tx, bare) == []


async def test_operators_see_the_state_of_every_version(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    first = await credential_of(tx, tenant)
    _, running = await add_submitted(tx, tenant, 2)
    await polls.started(tx, [(running, None, None)])
    await circuit_breaker.failed(tx, first, 20.0, probe=False, room=100)
    await circuit_breaker.reject(tx, first, "no", 300.0)
    row = await row_of(tx, "credential", first)
    await add_credential(tx, tenant, 2)
    await add_jobs(tx, tenant)
    assert await tenants.credentials(tx, tenant) == [
        CredentialInUse(2, "https://upstream.example/2", row.now, None, None, 0, None, 0),
        CredentialInUse(
            1, "https://upstream.example/1", row.now, row.now, "no", 1, row.paused_until, 2
        ),
    ]


# --- Erase --------------------------------------------------------------------------------------


async def fill(tx: Tx) -> None:
    """Add a tenant with a row in every table that has rows of tenants."""
    tenant = await add_tenant(tx)
    (job_id,) = await add_submitted(tx, tenant)
    await lists.add_notes(tx, [NewNote(uuid7(), tenant, job_id, "t", "d")])
    endpoint = await add_endpoint(tx, tenant)
    for of in (endpoint, None):
        await endpoints.add_secret(
            tx, uuid7(), tenant, of, algorithm="v1", sealed=b"s", public_key=None
        )
    await add_deliveries(tx, tenant, endpoint, job_id=job_id)
    token = uuid7()
    (one,) = await claim_deliveries(tx, token=token)
    await attempts.record(tx, [recorded_of(one, token, "delivered")])
    await settlement.finish(tx, [JobEnd(job_id, "succeeded", None, None, None, None)])
    await rollups.add_jobs(tx, [job_id])
    await drift.note_pruning(tx, "jobs", [job_id])
    await tx.run("INSERT INTO usage_hour VALUES ($1, now(), '', '', '', 1, 0, 0)", tenant)
    await tx.run("INSERT INTO prune_cursor VALUES ($1, 'jobs', $2)", tenant, job_id)
    await bulk_operations.add(
        tx,
        uuid7(),
        tenant,
        kind="resend",
        endpoint_id=None,
        filter_="{}",
        total=1,
        most=9,
        until=one.id,
    )
    await access_keys.add(tx, key_of(tenant_id=tenant))
    session = session_of(tenant_id=tenant)
    await sessions.add(tx, session, uuid7().bytes)
    await sessions.add_link(tx, session, uuid7().bytes)
    await portal_looks.put(tx, tenant, PortalLook(mode="dark"))
    await add_view(tx, tenant)


USAGE = ("usage_hourly", "usage_daily")  # its tenant is unknown


async def counts(tx: Tx) -> dict[str, int]:
    return {
        name: (await tx.one(f"SELECT count(*) FROM {name}"))[0]
        for name in metadata.tables
        if name not in {"beacon", "process", "throughput"}  # has no tenant
    }


async def test_erasing_a_tenant_leaves_its_usage_and_all_other_tenants(
    tx: Tx,
) -> None:
    await fill(tx)
    one = await counts(tx)
    assert all(count for name, count in one.items() if name != "audit"), one
    await fill(tx)
    both = {name: 2 * count for name, count in one.items()}
    assert await counts(tx) == both
    left = one | {name: both[name] for name in USAGE}
    first = await tx.row("SELECT min(id::text)::uuid AS id FROM tenant")
    assert first is not None
    await tenants.erase(tx, first.id)
    assert await counts(tx) == left
    for table in metadata.tables.values():
        if "tenant_id" in table.columns and table.name not in USAGE:
            row = await tx.row(f"SELECT 1 FROM {table.name} WHERE tenant_id = $1", first.id)
            assert row is None, table.name
    await tenants.erase(tx, first.id)
    assert await counts(tx) == left


async def test_the_audit_of_an_erased_tenant_is_kept(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    await audit.add(tx, uuid7(), key_id="k", action="a", subject="s", tenant_id=tenant, detail="{}")
    await tenants.erase(tx, tenant)
    assert (await counts(tx))["audit"] == 1
