"""/admin/v1: the status of the gateway, and its queues."""

from litestar import get

from gateway.flows.health.status import status
from gateway.web.context import Context, Injected
from gateway.web.schemas.status_responses import QueueOut, StatusOut


@get("/status", operation_id="getStatus", summary="Read the status of the gateway")
async def get_status(context: Injected[Context]) -> StatusOut:
    """Every process with its last heartbeat, Postgres, Redis, the queues, and all problems."""
    return StatusOut.of(await status(context.deps, context.overviews))


@get("/queue", operation_id="getQueue", summary="Read the queues: all work that is not done yet")
async def get_queue(context: Injected[Context]) -> QueueOut:
    """Open jobs by state; for each queue how many are due, and how many are held back and why."""
    return QueueOut.of(await context.overviews.get())


HANDLERS = [get_status, get_queue]
