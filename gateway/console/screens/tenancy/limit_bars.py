"""Limit bars: what a tenant uses of each limit, for pages of staff and of the tenant."""

from typing import NamedTuple

from gateway.core.model import Tenant
from gateway.core.policy import Policy
from gateway.flows.admin.tenant_load import limits_in_force
from gateway.store.tenancy.load import TenantLoad


class LimitBar(NamedTuple):
    """How much of a limit is used; `part` is of 1000, and `look` the class of its bar."""

    name: str
    used: int
    most: int
    is_own: bool

    @property
    def part(self) -> int:
        """The width of the bar."""
        return min(1000, round(1000 * self.used / max(self.most, 1)))

    @property
    def look(self) -> str:
        """A bar that is nearly full needs somebody."""
        return "bad" if self.part >= 1000 else "needs" if self.part >= 800 else "runs"  # noqa: PLR2004


def limit_bars(tenant: Tenant, load: TenantLoad, policy: Policy) -> list[LimitBar]:
    """A bar for each limit that is used up by what waits, flies or exists."""
    most, own = limits_in_force(tenant.limits, policy), tenant.limits
    return [
        LimitBar("Waiting jobs", load.waiting, most.waiting, own.max_queued is not None),
        LimitBar("In flight", load.in_flight, most.in_flight, own.max_in_flight is not None),
        LimitBar("Endpoints", load.endpoints, most.endpoints, own.max_endpoints is not None),
    ]
