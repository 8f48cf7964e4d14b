"""What each tenant uses of its limits now, and the state of its credential: what holds its jobs back."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.conditions import LATEST_CREDENTIAL
from gateway.store.database import Tx
from gateway.store.statement import Query, Statement


class TenantLoad(NamedTuple):
    """What one tenant uses; `credential` is one of ok, none, refused, paused."""

    waiting: int
    in_flight: int
    endpoints: int
    credential: str


class HeldTenant(NamedTuple):
    """A tenant whose newest credential holds its jobs back, or may soon; no version means that it has none."""

    tenant: str
    version: int | None
    rejected_at: datetime | None
    rejected_reason: str | None
    failures: int
    paused_until: datetime | None
    waiting: int
    in_flight: int


_LOAD = """LATERAL (SELECT GREATEST(COALESCE(sum(l.waiting), 0), 0)::bigint AS waiting,
  GREATEST(COALESCE(sum(l.in_flight), 0), 0)::bigint AS in_flight
  FROM tenant_load l WHERE l.tenant_id = t.id) AS load"""

_LOADS = Statement(
    f"""
SELECT t.id, load.waiting, load.in_flight,
  (SELECT count(*) FROM endpoint e WHERE e.tenant_id = t.id AND e.deleted_at IS NULL) AS endpoints,
  CASE WHEN c.id IS NULL THEN 'none' WHEN c.rejected_at IS NOT NULL THEN 'refused'
    WHEN c.paused_until > now() THEN 'paused' ELSE 'ok' END AS credential
FROM tenant t
CROSS JOIN {_LOAD}
LEFT JOIN {LATEST_CREDENTIAL} AS c ON true
WHERE t.id = ANY(:tenant_ids::uuid[])"""
)

# Few tenants have trouble or jobs that wait, so only those are looked at closely.
_HELD = Query(
    f"""
SELECT t.slug AS tenant, c.version, c.rejected_at, c.rejected_reason,
  COALESCE(c.failures, 0) AS failures, c.paused_until, load.waiting, load.in_flight
FROM (SELECT tenant_id FROM credential
    WHERE rejected_at IS NOT NULL OR paused_until > now() OR failures > 0
  UNION SELECT tenant_id FROM tenant_load WHERE waiting > 0) AS maybe
JOIN tenant t ON t.id = maybe.tenant_id CROSS JOIN {_LOAD}
LEFT JOIN {LATEST_CREDENTIAL} AS c ON true
WHERE t.suspended_at IS NULL AND (c.id IS NULL AND load.waiting > 0
  OR c.rejected_at IS NOT NULL OR c.paused_until > now() OR c.failures > 0)
ORDER BY load.waiting DESC, t.slug LIMIT :limit""",
    HeldTenant,
)


async def held(tx: Tx, limit: int) -> list[HeldTenant]:
    """The tenants with such a credential, those with most waiting jobs first; suspended ones are left out."""
    return await _HELD.rows(tx, limit=limit)


async def loads(tx: Tx, tenant_ids: Iterable[UUID]) -> dict[UUID, TenantLoad]:
    """What these tenants use; costs a few index probes for each."""
    rows = await _LOADS.rows(tx, tenant_ids=list(tenant_ids))
    return {
        row.id: TenantLoad(row.waiting, row.in_flight, row.endpoints, row.credential)
        for row in rows
    }
