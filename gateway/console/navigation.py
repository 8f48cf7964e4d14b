"""The screens of the navigation of each face, in their order; `key` goes there after `g`."""

from typing import NamedTuple

from gateway.core.model import Scope
from gateway.core.portal.pages import PortalPage


class NavigationEntry(NamedTuple):
    """A screen below the start of its face, and the scope that it needs."""

    name: str
    path: str
    icon: str
    key: str
    scope: Scope


SCREENS = (
    NavigationEntry("Now", "", "gauge", "n", Scope.ADMIN_READ),
    NavigationEntry("Jobs", "/jobs", "list", "j", Scope.JOBS_READ),
    NavigationEntry("Deliveries", "/deliveries", "send", "d", Scope.ENDPOINTS_READ),
    NavigationEntry("Endpoints", "/endpoints", "plug", "e", Scope.ENDPOINTS_READ),
    NavigationEntry("Feed", "/feed", "radio", "f", Scope.JOBS_READ),
    NavigationEntry("Event types", "/events", "tags", "v", Scope.ENDPOINTS_READ),
    NavigationEntry("Tenants", "/tenants", "users", "t", Scope.ADMIN_READ),
    NavigationEntry("Usage", "/usage", "chart-column", "u", Scope.USAGE_READ),
    NavigationEntry("Queues", "/queues", "layers", "q", Scope.ADMIN_READ),
    NavigationEntry("Dead letters", "/dead-letters", "skull", "l", Scope.ENDPOINTS_READ),
    NavigationEntry("Bulk operations", "/bulk", "layers", "b", Scope.ENDPOINTS_READ),
    NavigationEntry("Activity", "/activity", "history", "a", Scope.ADMIN_READ),
    NavigationEntry("System", "/system", "settings", "s", Scope.ADMIN_READ),
)

# A link can choose the pages of the portal; each has some of these screens.
_SHARED = {screen.name: screen for screen in SCREENS}
PORTAL_SCREENS: tuple[tuple[PortalPage, NavigationEntry], ...] = (
    (PortalPage.OVERVIEW, NavigationEntry("Overview", "", "gauge", "n", Scope.JOBS_READ)),
    (PortalPage.JOBS, _SHARED["Jobs"]),
    (PortalPage.DELIVERIES, _SHARED["Deliveries"]),
    (PortalPage.DELIVERIES, _SHARED["Dead letters"]),
    (PortalPage.DELIVERIES, _SHARED["Bulk operations"]),
    (PortalPage.ENDPOINTS, _SHARED["Endpoints"]),
    (PortalPage.EVENTS, _SHARED["Feed"]),
    (PortalPage.EVENTS, _SHARED["Event types"]),
    (PortalPage.USAGE, _SHARED["Usage"]),
)
