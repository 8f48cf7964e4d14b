"""The screens of the navigation, in its order; `key` goes there after `g`."""

from typing import NamedTuple

from gateway.core.model import Scope


class NavigationEntry(NamedTuple):
    """A screen, and the scope that it needs."""

    name: str
    path: str
    icon: str
    key: str
    scope: Scope


SCREENS = (
    NavigationEntry("Now", "/console", "gauge", "n", Scope.ADMIN_READ),
    NavigationEntry("Jobs", "/console/jobs", "list", "j", Scope.JOBS_READ),
    NavigationEntry("Deliveries", "/console/deliveries", "send", "d", Scope.ENDPOINTS_READ),
    NavigationEntry("Endpoints", "/console/endpoints", "plug", "e", Scope.ENDPOINTS_READ),
    NavigationEntry("Feed", "/console/feed", "radio", "f", Scope.JOBS_READ),
    NavigationEntry("Event types", "/console/events", "tags", "v", Scope.ENDPOINTS_READ),
    NavigationEntry("Tenants", "/console/tenants", "users", "t", Scope.ADMIN_READ),
    NavigationEntry("Usage", "/console/usage", "chart-column", "u", Scope.USAGE_READ),
    NavigationEntry("Queues", "/console/queues", "layers", "q", Scope.ADMIN_READ),
    NavigationEntry("Dead letters", "/console/dead-letters", "skull", "l", Scope.ENDPOINTS_READ),
    NavigationEntry("Bulk operations", "/console/bulk", "layers", "b", Scope.ENDPOINTS_READ),
    NavigationEntry("Activity", "/console/activity", "history", "a", Scope.ADMIN_READ),
    NavigationEntry("System", "/console/system", "settings", "s", Scope.ADMIN_READ),
)
