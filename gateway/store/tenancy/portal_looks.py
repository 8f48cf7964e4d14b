"""The looks of portals: one row for each tenant that has stored one."""

from uuid import UUID

from gateway.core.portal.look import PortalLook
from gateway.store.database import Tx
from gateway.store.statement import Query, Statement

_FIND = Query(
    "SELECT accent, logo_url, mode, frame_ancestors FROM portal_look WHERE tenant_id = :tenant_id",
    PortalLook,
    lambda row: PortalLook(row.accent, row.logo_url, row.mode, tuple(row.frame_ancestors)),
)

_PUT = Statement(
    """
INSERT INTO portal_look (tenant_id, accent, logo_url, mode, frame_ancestors)
VALUES (:tenant_id, :accent, :logo_url, :mode, :frame_ancestors)
ON CONFLICT (tenant_id) DO UPDATE SET accent = EXCLUDED.accent, logo_url = EXCLUDED.logo_url,
  mode = EXCLUDED.mode, frame_ancestors = EXCLUDED.frame_ancestors"""
)


async def find(tx: Tx, tenant_id: UUID) -> PortalLook:
    """The look of a tenant's portal; the gateway's own where none is stored."""
    return await _FIND.row(tx, tenant_id=tenant_id) or PortalLook()


async def put(tx: Tx, tenant_id: UUID, look: PortalLook) -> None:
    """Store the look of a tenant's portal."""
    await _PUT.run(
        tx,
        tenant_id=tenant_id,
        accent=look.accent,
        logo_url=look.logo_url,
        mode=look.mode,
        frame_ancestors=look.frame_ancestors,
    )
