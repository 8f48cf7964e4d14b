"""The routes of the console and of the portal, each a face for the application of the API process."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from litestar import Response, Router
from litestar.di import Provide
from litestar.exceptions import NotFoundException

from gateway.console.guards import (
    SignInNeeded,
    ask_to_sign_in,
    guard_open,
    guard_portal,
    guard_staff,
)
from gateway.console.screens import job, jobs, now, oidc, search, sign_in, static, theme, times
from gateway.console.screens.events import catalogue, feed
from gateway.console.screens.operations import account, activity, queues, system, usage
from gateway.console.screens.portal import accent, enter, overview
from gateway.console.screens.tenancy import export, keys, portal, tenant, tenant_changes, tenants
from gateway.console.screens.webhooks import (
    bulk,
    dead_letters,
    deliveries,
    delivery,
    endpoint,
    endpoint_changes,
    endpoints,
    recover,
    signature,
)
from gateway.console.view import HOME, PORTAL, provide_view, view_of
from gateway.core.portal.pages import PortalPage
from gateway.errors import NotFound
from gateway.web.app import Face
from gateway.web.asgi.types import AnyRequest
from gateway.web.context import declare_inputs, operator_dependencies
from gateway.web.respond.problem_details import problem_of

_STAFF: list[Any] = [
    *sign_in.HANDLERS,
    *theme.HANDLERS,
    *times.HANDLERS,
    *now.HANDLERS,
    *jobs.HANDLERS,
    *job.HANDLERS,
    *search.HANDLERS,
    *tenants.HANDLERS,
    *tenant.HANDLERS,
    *tenant_changes.HANDLERS,
    *keys.HANDLERS,
    *portal.HANDLERS,
    *export.HANDLERS,
    *usage.HANDLERS,
    *queues.HANDLERS,
    *activity.HANDLERS,
    *account.HANDLERS,
    *system.HANDLERS,
    *deliveries.HANDLERS,
    *delivery.HANDLERS,
    *endpoints.HANDLERS,
    *endpoint.HANDLERS,
    *endpoint_changes.HANDLERS,
    *recover.HANDLERS,
    *signature.HANDLERS,
    *catalogue.HANDLERS,
    *feed.HANDLERS,
    *dead_letters.HANDLERS,
    *bulk.HANDLERS,
]
_OPEN: list[Any] = [*sign_in.OPEN, *oidc.OPEN, *static.OPEN]

# A link into a portal can name its pages; any of the named ones opens these screens.
_PORTAL: Sequence[tuple[tuple[PortalPage, ...], list[Any]]] = (
    ((), [*enter.HANDLERS, *overview.HANDLERS, *theme.HANDLERS, *times.HANDLERS, *search.HANDLERS]),
    ((PortalPage.JOBS,), [*jobs.HANDLERS, *job.HANDLERS]),
    (
        (PortalPage.DELIVERIES,),
        [
            *deliveries.HANDLERS,
            *delivery.HANDLERS,
            *signature.HANDLERS,
            *dead_letters.HANDLERS,
        ],
    ),
    (
        (PortalPage.ENDPOINTS,),
        [
            *endpoints.HANDLERS,
            *endpoint.HANDLERS,
            *endpoint_changes.HANDLERS,
            *recover.HANDLERS,
        ],
    ),
    ((PortalPage.JOBS, PortalPage.DELIVERIES, PortalPage.ENDPOINTS), bulk.HANDLERS),
    ((PortalPage.EVENTS,), [*catalogue.HANDLERS, *feed.HANDLERS]),
    ((PortalPage.USAGE,), usage.HANDLERS),
)
_PORTAL_OPEN: list[Any] = [*enter.OPEN, *accent.OPEN, *static.OPEN]

_OWN: list[Any] = [*enter.HANDLERS, *overview.HANDLERS, *enter.OPEN, *accent.OPEN]
for _handler in (*_STAFF, *_OPEN, *_OWN):
    declare_inputs(_handler)


@cache
def portal_face() -> Face:
    """All pages of the portal of a tenant."""
    routers = [
        Router(
            PORTAL,
            route_handlers=handlers,
            guards=[guard_portal],
            opt={"pages": pages},
            **_common(),
        )
        for pages, handlers in _PORTAL
    ]
    opened = Router(PORTAL, route_handlers=_PORTAL_OPEN, guards=[guard_open], **_common())
    return Face(PORTAL, (*routers, opened), _error_page)


@cache
def console_face() -> Face:
    """All pages of the console."""
    routers = (
        Router(HOME, route_handlers=_STAFF, guards=[guard_staff], **_common()),
        Router(HOME, route_handlers=_OPEN, guards=[guard_open], **_common()),
    )
    return Face(HOME, routers, _error_page)


def _common() -> dict[str, Any]:
    return {
        "dependencies": {**operator_dependencies(), "view": Provide(provide_view)},
        "exception_handlers": {SignInNeeded: ask_to_sign_in},
    }


def _error_page(request: AnyRequest, error: Exception) -> Response[bytes]:
    """An error as a page, with the same words that the API has for it."""
    view = view_of(request)
    if isinstance(error, NotFoundException):
        error = NotFound("There is no such page.")
    refusal, headers, _ = problem_of(error, view.request.request_id, view.request.trace_id)
    page = view.page("error.html", status=refusal.status, error=refusal)
    headers.pop("www-authenticate", None)
    page.headers.update(headers)
    return page
