"""Health and metrics, for machines and without a key."""

from contextlib import suppress
from typing import Any, Literal

from litestar import Response, get
from litestar.openapi import ResponseSpec

from gateway.errors import Unavailable
from gateway.exposition import CONTENT_TYPE, exposition, process_state
from gateway.flows.deps import Deps
from gateway.flows.health.readiness import has_workers, readiness
from gateway.web.context import Context, Injected
from gateway.web.schemas.responses import Out

_UNREADY = 503
_WORKERS: dict[bool | None, Literal["ok", "none"] | None] = {True: "ok", False: "none", None: None}


class Live(Out):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(Out, omit_defaults=True):
    """Whether a load balancer should send requests here. Without Redis only latency is higher.

    Without a worker jobs are accepted but not submitted: `workers` says whether one is alive.
    """

    status: Literal["ok", "draining", "database away", "database unfit", "schema behind"]
    redis: bool
    cause: str | None = None
    redis_trouble: str | None = None
    workers: Literal["ok", "none"] | None = None


@get("/health/live", operation_id="getLiveness", summary="Whether the process answers")
async def live() -> Live:
    """Checks nothing else."""
    return Live()


@get(
    "/health/ready",
    responses={200: ResponseSpec(Ready), 503: ResponseSpec(Ready)},
    operation_id="getReadiness",
    summary="Whether the process is ready for requests",
)
async def ready(deps: Injected[Deps]) -> Response[Ready]:
    """503 while the process drains and while Postgres cannot be used; `cause` says why."""
    status, cause = (
        ("draining", "") if deps.slots.draining or deps.slots.closing else await readiness(deps)
    )
    alive = await has_workers(deps) if status == "ok" else None
    answer = Ready(status, deps.queue.connected, cause or None, deps.queue.trouble, _WORKERS[alive])
    return Response(answer, status_code=200 if status == "ok" else _UNREADY)


@get("/metrics", include_in_schema=False)
async def metrics(context: Injected[Context]) -> Response[bytes]:
    """For Prometheus. Figures from Postgres are left out while it is away."""
    deps, overview = context.deps, None
    with suppress(Unavailable):
        overview = await context.overviews.get()
    body = exposition(process_state(deps, database_up=overview is not None), overview)
    return Response(body, headers={"Content-Type": CONTENT_TYPE})


HANDLERS: list[Any] = [live, ready]
METRICS: list[Any] = [metrics]
