"""For operators: how the whole gateway is, and what is still to be done."""

from litestar import get

from gateway.flows.health.status import status
from gateway.web.context import Context, Injected
from gateway.web.schemas.status_responses import QueueOut, StatusOut


@get("/status", operation_id="getStatus", summary="See how the whole gateway is")
async def read_gateway(context: Injected[Context]) -> StatusOut:
    """Every process with its last heartbeat, Postgres, Redis, the queues, and what is wrong."""
    return StatusOut.of(await status(context.deps, context.overviews))


@get("/queue", operation_id="getQueue", summary="See all that is still to be done")
async def read_queue(context: Injected[Context]) -> QueueOut:
    """Open jobs by state; of each queue what may go now, and what is held back and why."""
    return QueueOut.of(await context.overviews.get())


HANDLERS = [read_gateway, read_queue]
