"""Lists and single things that callers read: of one tenant each, and whole pages in order."""

from dataclasses import replace
from uuid import uuid4

import pytest

from gateway.core.model import KeyKind
from gateway.core.text.cursor import PageCursor
from gateway.errors import NotFound
from gateway.flows.admin.access_keys import create_key, list_keys
from gateway.flows.admin.audit import list_audit
from gateway.flows.admin.tenants import list_credentials, list_tenants, tenant_ids
from gateway.flows.bulk.deliveries import DeliverySpan, find_operation, list_operations, recover
from gateway.flows.deliver.endpoints import find_endpoint, list_endpoints
from gateway.flows.health.heartbeat import beating
from gateway.flows.health.readiness import has_workers
from gateway.flows.read.deliveries import find_delivery, list_deliveries
from gateway.flows.read.job_text import as_lines, with_workflows
from gateway.flows.read.jobs import find_job, find_owner, known_job
from gateway.runtime import identity_of
from gateway.store.database import open_database
from gateway.store.delivery_search.filter import DeliveryFilter
from gateway.store.job_search.csv_and_json_columns import END, MARK
from gateway.store.tenancy.audit import AuditFilter
from tests.flows.bulk_scenes import LONG_AGO, began, receiver
from tests.flows.scenes import OTHER, owe_rows
from tests.flows.world import HOOK, World


async def test_a_job_and_its_owner(world: World) -> None:
    tenant, other = await world.tenant(), await world.tenant("other")
    job_id = await world.accept_one(tenant)

    assert (await find_job(world.deps, tenant.id, job_id)).id == job_id
    assert await find_owner(world.deps, job_id, None) == tenant.id
    assert await find_owner(world.deps, job_id, {tenant.id}) == tenant.id
    with pytest.raises(NotFound):
        await find_job(world.deps, other.id, job_id)
    for missing, allowed in ((job_id, {other.id}), (uuid4(), None)):
        with pytest.raises(NotFound):
            await find_owner(world.deps, missing, allowed)
    with pytest.raises(NotFound):
        known_job(None)


async def test_deliveries(world: World) -> None:
    tenant, endpoint_id = await receiver(world)
    other = await world.tenant("other")
    owed = await owe_rows(world, tenant, endpoint_id, 3, "exhausted")
    wanted = DeliveryFilter(tenant.id)

    first = await list_deliveries(world.deps, wanted, PageCursor(), 2)
    rest = await list_deliveries(world.deps, wanted, PageCursor(first[-1].id), 2)
    found = await find_delivery(world.deps, tenant.id, owed[0])

    assert [one.id for one in (*first, *rest)] == sorted(owed, reverse=True)
    assert (found.delivery.id, found.attempts) == (owed[0], [])
    with pytest.raises(NotFound):
        await find_delivery(world.deps, other.id, owed[0])


async def test_endpoints(world: World) -> None:
    tenant, other = await world.tenant(), await world.tenant("other")
    made = [await world.endpoint(tenant, url) for url in (HOOK, OTHER)]

    first = await list_endpoints(world.deps, tenant.id, None, 1)
    rest = await list_endpoints(world.deps, tenant.id, first[0].id, 1)

    assert [one.id for one in (*first, *rest)] == made
    assert (await find_endpoint(world.deps, tenant.id, made[0])).url == HOOK
    with pytest.raises(NotFound):
        await find_endpoint(world.deps, other.id, made[0])


async def test_bulk_operations(world: World) -> None:
    tenant, endpoint_id = await receiver(world)
    await owe_rows(world, tenant, endpoint_id, 1, "exhausted")
    made = began(await recover(world.deps, tenant.id, endpoint_id, DeliverySpan(LONG_AGO)))

    found = await list_operations(world.deps, tenant.id, None, 9, kinds=["recover"])

    assert [one.id for one in found] == [made.id]
    assert await list_operations(world.deps, tenant.id, None, 9, kinds=["resend"]) == []
    assert (await find_operation(world.deps, tenant.id, made.id)).id == made.id
    with pytest.raises(NotFound):
        await find_operation(world.deps, tenant.id, uuid4())


async def test_what_operators_read(world: World) -> None:
    tenant, other = await world.tenant("acme"), await world.tenant("other")
    own, _ = await create_key(world.deps, "me", kind=KeyKind.TENANT, name="own", tenant="acme")
    service, _ = await create_key(world.deps, "me", kind=KeyKind.SERVICE, name="service")

    assert [one.slug for one in await list_tenants(world.deps, None, 9)] == ["acme", "other"]
    assert [one.slug for one in await list_tenants(world.deps, "acme", 9)] == ["other"]
    assert await tenant_ids(world.deps, ["other", "nobody"]) == [other.id]
    assert {one.version for one in await list_credentials(world.deps, "acme")} == {1}
    assert own.key_id in [one.key_id for one in await list_keys(world.deps, "acme")]
    assert [one.key_id for one in await list_keys(world.deps, None)] == [service.key_id]
    notes = await list_audit(
        world.deps, AuditFilter(None, ("key.created",), (), None, None), PageCursor(), 9
    )
    assert [one.subject for one in notes] == [service.key_id, own.key_id]
    for reading in (list_keys(world.deps, "nobody"), list_credentials(world.deps, "nobody")):
        with pytest.raises(NotFound):
            await reading
    assert tenant.id != other.id


async def test_whether_a_worker_lives(world: World) -> None:
    assert await has_workers(world.deps) is False
    async with beating(world.deps, identity_of("worker", world.deps.ids)):
        assert await has_workers(world.deps) is True
    away = open_database("postgresql://nobody@127.0.0.1:1/none", pool=1, name="tests")
    assert await has_workers(replace(world.deps, db=away)) is None
    await away.close()


async def test_a_workflow_is_shown_once_for_all_jobs_of_a_page() -> None:
    tenant, asked = uuid4(), list[str]()

    async def show(tenant_id: object, slug: str) -> str:
        assert tenant_id == tenant
        asked.append(slug)
        return f'"{slug.upper()}"'

    mark = f'{MARK}{tenant}"a/b"{MARK}'
    text = f'{{"workflow":{mark},"params":{{"a":\r\n1}}}}{END}{{"workflow":{mark}}}{END}'

    assert await with_workflows(as_lines(text), {}, show) == (
        b'{"workflow":"A/B","params":{"a":  1}}\n{"workflow":"A/B"}\n'
    )
    assert asked == ["a/b"]
