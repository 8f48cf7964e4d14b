"""The audit: paged newest first, and filtered by tenant, action, actor and time."""

from datetime import timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.core.model import KeyKind
from gateway.store.database import Tx
from gateway.store.tenancy import access_keys, audit, tenants
from gateway.store.tenancy.audit import AuditEntry, AuditFilter
from tests.builders import add_tenant, key_of, row_of


async def add(tx: Tx, key_id: str, action: str, subject: str, tenant: UUID | None = None) -> UUID:
    id_ = uuid7()
    fields = {"key_id": key_id, "action": action, "subject": subject}
    await audit.add(tx, id_, tenant_id=tenant, detail='{"a": 1}', **fields)
    return id_


async def ids_of(tx: Tx, wanted: AuditFilter) -> list[UUID]:
    return [entry.id for entry in await audit.page(tx, wanted, before=None, limit=9)]


async def test_the_audit_is_paged_newest_first_with_names(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    slug = (await row_of(tx, "tenant", tenant)).slug
    key = await access_keys.add(tx, key_of(kind=KeyKind.OPERATOR, name="Ada"))
    ids = [await add(tx, "cli", "tenant.created", slug)]
    ids += [await add(tx, key.key_id, "tenant.changed", slug, tenant) for _ in range(2)]
    now = (await row_of(tx, "audit", ids[0])).now
    first = await audit.page(tx, AuditFilter(), before=None, limit=2)
    assert [entry.id for entry in first] == ids[:0:-1]
    named = (key.key_id, "Ada", "tenant.changed", slug, slug, '{"a": 1}')
    assert first[0] == AuditEntry(ids[2], now, *named)
    (rest,) = await audit.page(tx, AuditFilter(), before=ids[1], limit=2)
    assert (rest.id, rest.key_name, rest.tenant) == (ids[0], None, None)


async def test_the_audit_is_filtered(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    slug = (await row_of(tx, "tenant", tenant)).slug
    ada = await access_keys.add(tx, key_of(kind=KeyKind.OPERATOR, name="Ada"))
    changed = await add(tx, ada.key_id, "tenant.changed", slug, tenant)
    theirs = await add(tx, "cli", "key.created", "k", other)
    await tx.run("UPDATE audit SET at = at - interval '1 hour' WHERE id = $1", theirs)
    now = (await row_of(tx, "audit", changed)).now
    hour = timedelta(minutes=30)
    assert await ids_of(tx, AuditFilter(tenant=slug)) == [changed]
    assert await ids_of(tx, AuditFilter(actions=["key.created", "key.revoked"])) == [theirs]
    assert await ids_of(tx, AuditFilter(actors=["Ada"])) == [changed]
    assert await ids_of(tx, AuditFilter(actors=[ada.key_id, "cli"])) == [theirs, changed]
    assert await ids_of(tx, AuditFilter(after=now - hour)) == [changed]
    assert await ids_of(tx, AuditFilter(before=now - hour)) == [theirs]
    assert await ids_of(tx, AuditFilter(tenant=slug, actors=["cli"])) == []


@pytest.mark.parametrize("action", ["tenant.deleted", "credential.put"])
async def test_the_audit_of_an_erased_tenant_is_found_by_its_name(tx: Tx, action: str) -> None:
    tenant = await add_tenant(tx)
    slug = (await row_of(tx, "tenant", tenant)).slug
    done = await add(tx, "cli", action, slug, tenant)
    await tenants.erase(tx, tenant)
    found = await ids_of(tx, AuditFilter(tenant=slug))
    assert found == ([done] if action.startswith("tenant.") else [])
