"""What each tenant uses of its limits now, and the state of its credential."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from gateway.store.conditions import LATEST_CREDENTIAL
from gateway.store.database import Tx
from gateway.store.statement import Statement


class TenantLoad(NamedTuple):
    """What one tenant uses; `credential` is one of ok, none, refused, paused."""

    waiting: int
    in_flight: int
    endpoints: int
    credential: str


_LOADS = Statement(
    f"""
SELECT t.id, load.waiting, load.in_flight,
  (SELECT count(*) FROM endpoint e WHERE e.tenant_id = t.id AND e.deleted_at IS NULL) AS endpoints,
  CASE WHEN c.id IS NULL THEN 'none' WHEN c.rejected_at IS NOT NULL THEN 'refused'
    WHEN c.paused_until > now() THEN 'paused' ELSE 'ok' END AS credential
FROM tenant t
CROSS JOIN LATERAL (SELECT GREATEST(COALESCE(sum(l.waiting), 0), 0)::bigint AS waiting,
  GREATEST(COALESCE(sum(l.in_flight), 0), 0)::bigint AS in_flight
  FROM tenant_load l WHERE l.tenant_id = t.id) AS load
LEFT JOIN {LATEST_CREDENTIAL} AS c ON true
WHERE t.id = ANY(:tenant_ids::uuid[])"""
)


async def loads(tx: Tx, tenant_ids: Iterable[UUID]) -> dict[UUID, TenantLoad]:
    """What these tenants use; costs a few index probes for each."""
    rows = await _LOADS.rows(tx, tenant_ids=list(tenant_ids))
    return {
        row.id: TenantLoad(row.waiting, row.in_flight, row.endpoints, row.credential)
        for row in rows
    }
