"""Overview: how a tenant's jobs and webhooks are doing, and what needs somebody."""

import asyncio
from datetime import timedelta

from litestar import Response, get

from gateway.console.links import BULK, DEAD_LETTERS, ENDPOINTS, JOBS, link
from gateway.console.screens.tenancy.limit_bars import limit_bars
from gateway.console.view import View
from gateway.core.model import JobState, Tenant
from gateway.core.portal.pages import PortalPage
from gateway.core.text.cursor import PageCursor
from gateway.flows.admin.tenant_load import read_load
from gateway.flows.bulk.lists import OperationFilter, operations
from gateway.flows.read.deliveries import dead_letter_groups
from gateway.flows.read.endpoints import EndpointFilter, endpoint_rows
from gateway.flows.read.job_rows import job_rows
from gateway.flows.settle.usage import Group, read_usage
from gateway.store.job_search.filter import JobFilter
from gateway.web.context import Injected

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_FEW = 5
_FAILED = (JobState.FAILED.value, JobState.EXPIRED.value)


@get("/", opt={"scope": None})
async def show_overview(view: Injected[View]) -> Response[bytes]:
    """The first page of a portal; a link that does not name it leads to its first page instead."""
    tenant = view.signed_in.tenant
    if tenant is None or not view.shows(PortalPage.OVERVIEW):
        return view.go(view.at(view.screens[0].path))
    used, day, failed, endpoints, dead, running = await asyncio.gather(
        read_load(view.deps, tenant.slug),
        _last_day(view, tenant),
        job_rows(view.deps, JobFilter(tenants=(tenant.id,), states=_FAILED), PageCursor(), _FEW),
        endpoint_rows(view.deps, EndpointFilter(tenant.id, "failing"), None, _FEW + 1),
        dead_letter_groups(view.deps, tenant.id),
        operations(view.deps, OperationFilter(tenant.id, "running"), None, _FEW),
    )
    return view.page(
        "portal/overview.html",
        tenant=tenant,
        day=day,
        uses=limit_bars(tenant, used.load, view.deps.policy),
        failed=failed.rows,
        endpoints=endpoints[:_FEW],
        more_endpoints=len(endpoints) > _FEW,
        dead=dead.total,
        running=running,
        to_failed=link(view.at(JOBS), status="FAILED", span="week"),
        to_endpoints=link(view.at(ENDPOINTS), health="failing"),
        to_dead_letters=view.at(DEAD_LETTERS),
        to_bulk=view.at(BULK),
    )


async def _last_day(view: View, tenant: Tenant) -> Group | None:
    """What ended in the last 24 hours; usage counts whole hours."""
    now = view.deps.clock.now()
    found = await read_usage(
        view.deps,
        (),
        (tenant.id,),
        now - _DAY,
        now + _HOUR,
        turn=view.context.usage_lock,
    )
    return found[0] if found else None


HANDLERS = [show_overview]
