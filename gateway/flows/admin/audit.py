"""Audit: note each administrative act in the transaction that carries it out.

So there is no act without its entry, and no entry for an act that failed, also after a crash. Acts of
people on the jobs of tenants are noted just before.
"""

import json
from collections.abc import Mapping
from uuid import UUID

from gateway.core.replica.freshness import needed
from gateway.core.text.cursor import PageCursor
from gateway.flows.deps import Deps
from gateway.store.database import Database, Tx
from gateway.store.tenancy import audit
from gateway.store.tenancy.audit import AuditEntry, AuditFilter

# All acts of operators; docs/admin.md lists each.
ACTIONS = (
    "tenant.created",
    "tenant.changed",
    "tenant.suspended",
    "tenant.resumed",
    "tenant.deleted",
    "credential.put",
    "key.created",
    "key.rotated",
    "key.revoked",
    "job.retried",
    "job.cancelled",
    "session.created",
    "session.ended",
    "portal_link.created",
    "portal.changed",
    "delivery.resent",
    "endpoint.created",
    "endpoint.changed",
    "endpoint.deleted",
    "endpoint.enabled",
    "endpoint.disabled",
    "endpoint.tested",
    "endpoint.checked",
    "endpoint.secret_rotated",
    "bulk.started",
    "bulk.stopped",
    "view.saved",
    "view.changed",
    "view.deleted",
)


async def note(tx: Tx, deps: Deps, actor: str, action: str, subject: str, **detail: object) -> None:
    """Note who (`actor`) did what (`action`) to what (`subject`).

    `tenant_id` in the detail is the tenant concerned.
    """
    tenant_id = detail.pop("tenant_id", None)
    await audit.add(
        tx,
        deps.ids.uuid(),
        key_id=actor,
        action=action,
        subject=subject,
        tenant_id=tenant_id if isinstance(tenant_id, UUID) else None,
        detail=json.dumps(detail, default=str),
    )


async def note_before(
    deps: Deps, actor: str, action: str, subject: str, tenant_id: UUID, **detail: object
) -> None:
    """Note an act of a person on a tenant's things, which other transactions carry out next.

    An act that fails then has an entry, but none is without one.
    """
    async with deps.db.begin() as tx:
        await note(tx, deps, actor, action, subject, tenant_id=tenant_id, **detail)


async def list_audit(
    deps: Deps, wanted: AuditFilter, cursor: PageCursor, limit: int
) -> list[AuditEntry]:
    """Notes of a filter, newest first, from a place in the list."""

    async def read(database: Database) -> list[AuditEntry]:
        async with database.single() as tx:
            return await audit.page(tx, wanted, before=cursor.last, limit=limit)

    made = (wanted.after, wanted.before)
    return await deps.history(needed(deps.clock.now(), cursor, made)).read(read)


def changes(
    before: Mapping[str, object], after: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    """The fields that differ, as `{field: {"from": ..., "to": ...}}`."""
    return {
        name: {"from": before.get(name), "to": after.get(name)}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }
