"""Audit: administrative acts are noted in the transaction that carries them out."""

import json
from collections.abc import Mapping
from uuid import UUID

from gateway.flows.deps import Deps
from gateway.store.database import Tx
from gateway.store.tenancy import audit

# What operators can do, each listed in docs/admin.md.
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
)


async def note(tx: Tx, deps: Deps, actor: str, action: str, subject: str, **detail: object) -> None:
    """Note who did what to whom; `tenant_id` in the detail is the tenant concerned."""
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


def changes(
    before: Mapping[str, object], after: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    """What differs, as `{field: {"from": ..., "to": ...}}`."""
    return {
        name: {"from": before.get(name), "to": after.get(name)}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }
