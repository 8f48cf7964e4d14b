"""Health and metrics, for machines and without a key."""

import asyncio
from contextlib import suppress
from typing import Any, Literal

from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.flows.readiness import readiness
from gateway.metrics import REGISTRY, show_bus, show_depth
from gateway.store import sweeps
from gateway.web.context import Handed
from gateway.web.shown import Out

_DATABASE_SECONDS = 1.0
_UNREADY = 503


class Live(Out):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(Out, omit_defaults=True):
    """Whether requests should come here; without Redis they may, only wake-ups are slower."""

    status: Literal["ok", "draining", "database away", "database unfit", "schema behind"]
    redis: bool
    cause: str | None = None


@get("/health/live", summary="Whether the process answers")
async def live() -> Live:
    """Nothing else is looked at."""
    return Live()


@get("/health/ready", summary="Whether requests should come here")
async def ready(deps: Handed[Deps]) -> Response[Ready]:
    """503 while the process drains, and while Postgres cannot be used; `cause` says why not."""
    status, cause = ("draining", "") if deps.slots.closing else await readiness(deps)
    answer = Ready(status, deps.queue.connected, cause or None)
    return Response(answer, status_code=200 if status == "ok" else _UNREADY)


@get("/metrics", include_in_schema=False)
async def metrics(deps: Handed[Deps]) -> Response[bytes]:
    """For Prometheus; what is counted in Postgres stays as it was while that is away."""
    with suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(_DATABASE_SECONDS), deps.db.single() as tx:
            states, owed = await sweeps.depth(tx), await sweeps.owed(tx)
        show_depth(
            {one.state: (one.jobs, one.oldest_seconds) for one in states},
            (owed.due, owed.deferred, owed.oldest_seconds or 0.0),
        )
    show_bus(connected=deps.queue.connected)
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


HANDLERS: list[Any] = [live, ready, metrics]
