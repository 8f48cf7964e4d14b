"""The audit of what people do to the jobs of tenants."""

from gateway.core.text.cursor import PageCursor
from gateway.flows.admin.audit import list_audit, note_before
from gateway.store.tenancy.audit import AuditFilter
from tests.flows.world import World


async def test_an_act_is_noted_with_its_tenant_before_it_is_done(world: World):
    tenant = await world.tenant()
    await note_before(world.deps, "key", "job.retried", "a job", tenant.id, newId="another")
    [entry] = await list_audit(world.deps, AuditFilter(actions=["job.retried"]), PageCursor(), 5)
    assert (entry.key_id, entry.subject, entry.tenant) == ("key", "a job", tenant.slug)
    assert entry.detail == '{"newId": "another"}'
