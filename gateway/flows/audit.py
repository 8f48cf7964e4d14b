"""Audit: administrative acts are noted in the transaction that carries them out."""

import json
from uuid import UUID

from gateway.flows.deps import Deps
from gateway.store import keys
from gateway.store.engine import Tx


async def note(tx: Tx, deps: Deps, actor: str, action: str, subject: str, **detail: object) -> None:
    """Note who did what to whom; `tenant_id` in the detail is the tenant concerned."""
    tenant_id = detail.pop("tenant_id", None)
    await keys.add_audit(
        tx,
        deps.ids.uuid(),
        key_id=actor,
        action=action,
        subject=subject,
        tenant_id=tenant_id if isinstance(tenant_id, UUID) else None,
        detail=json.dumps(detail, default=str),
    )
