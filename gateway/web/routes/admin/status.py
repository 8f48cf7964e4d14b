"""/admin/v1: the status of the gateway, its queues, and its throughput."""

from litestar import get

from gateway.flows.admin.tenant_load import held_tenants
from gateway.flows.deps import Deps
from gateway.flows.health.status import status
from gateway.flows.read.throughput import read_throughput
from gateway.web.context import Context, Injected
from gateway.web.schemas.admin_responses import HeldTenantOut
from gateway.web.schemas.requests import FirstQuery, ThroughputQuery
from gateway.web.schemas.status_responses import QueueOut, StatusOut, ThroughputOut


@get("/status", operation_id="getStatus", summary="Read the status of the gateway")
async def get_status(context: Injected[Context]) -> StatusOut:
    """Every process with its last heartbeat, Postgres, Redis, the queues, and all problems."""
    return StatusOut.of(await status(context.deps, context.overviews))


@get("/queue", operation_id="getQueue", summary="Read the queues: all work that is not done yet")
async def get_queue(context: Injected[Context]) -> QueueOut:
    """Open jobs by state; for each queue how many are due, and how many are held back and why."""
    return QueueOut.of(await context.overviews.get())


@get("/throughput", operation_id="getThroughput", summary="Read the throughput of the gateway")
async def get_throughput(
    parameters: Injected[ThroughputQuery], deps: Injected[Deps]
) -> ThroughputOut:
    """Jobs in and out, attempts and durations by minute, for charts; a span of the window is a point.

    The processes report every five seconds, so the last point still grows.
    """
    return ThroughputOut.of(await read_throughput(deps, parameters.window))


@get(
    "/queue/credential",
    operation_id="listHeldTenants",
    summary="List the tenants whose credential holds jobs back",
)
async def list_held_tenants(
    parameters: Injected[FirstQuery], context: Injected[Context]
) -> list[HeldTenantOut]:
    """Those without one, and those whose newest one is refused, paused or failing; most waiting jobs first."""
    found = await held_tenants(context.deps, parameters.size)
    return [HeldTenantOut.of(one) for one in found]


HANDLERS = [get_status, get_queue, get_throughput, list_held_tenants]
