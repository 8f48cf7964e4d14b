"""Tenant load: what tenants use of their limits, and what those limits are.

It runs for the routes and the pages of operators. It reads counters that triggers keep, and writes nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.model import Limits, Tenant
from gateway.core.policy import Policy
from gateway.errors import NotFound
from gateway.flows.accept.queue_cap import max_queued_of
from gateway.flows.deps import Deps
from gateway.store.database import Tx
from gateway.store.tenancy import load, tenants
from gateway.store.tenancy.load import HeldTenant, TenantLoad


class ListedTenant(NamedTuple):
    """A tenant with what it uses."""

    tenant: Tenant
    load: TenantLoad


class LimitsInForce(NamedTuple):
    """The limits that hold for a tenant: its own, or else the gateway's. A rate of 0 is no limit."""

    waiting: int
    in_flight: int
    endpoints: int
    rate: int


def limits_in_force(limits: Limits, policy: Policy) -> LimitsInForce:
    """The limits that hold for a tenant."""
    return LimitsInForce(
        max_queued_of(limits, policy),
        policy.max_in_flight if limits.max_in_flight is None else limits.max_in_flight,
        policy.max_endpoints if limits.max_endpoints is None else limits.max_endpoints,
        policy.max_rate if limits.max_rate is None else limits.max_rate,
    )


async def read_load(deps: Deps, slug: str) -> ListedTenant:
    """One tenant with what it uses; raises NotFound."""
    async with deps.db.single() as tx:
        tenant = await tenants.by_slug(tx, slug)
        found = [] if tenant is None else await _with_loads(tx, [tenant])
    if not found:
        raise NotFound(f"There is no tenant '{slug}'.")
    return found[0]


async def list_loads(deps: Deps, text: str, after: str | None, limit: int) -> list[ListedTenant]:
    """Tenants with `text` in slug or name and what they use, in the order of their slugs: those after this one."""
    async with deps.db.single() as tx:
        found = await tenants.page(tx, after, limit, text=text)
        return await _with_loads(tx, found)


async def held_tenants(deps: Deps, limit: int) -> list[HeldTenant]:
    """Tenants whose credential is missing, refused, paused or failing: those with most waiting jobs first."""
    async with deps.db.single() as tx:
        return await load.held(tx, limit)


async def _with_loads(tx: Tx, found: Sequence[Tenant]) -> list[ListedTenant]:
    used = await load.loads(tx, [one.id for one in found])
    # A tenant that was erased between the two statements has none.
    return [ListedTenant(one, used[one.id]) for one in found if one.id in used]
