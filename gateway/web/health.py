"""Health and metrics, for machines and without a key."""

import asyncio
from contextlib import suppress
from functools import cache
from typing import Any, Literal

from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.metrics import REGISTRY, show_bus, show_depth
from gateway.store import sweeps
from gateway.store.migrate import newest_revision, revision
from gateway.web.context import Handed
from gateway.web.shown import Out

_DATABASE_SECONDS = 1.0
_UNREADY = 503


class Live(Out):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(Out):
    """Whether requests should come here; without Redis they may, only wake-ups are slower."""

    status: Literal["ok", "draining", "database away", "schema behind"]
    redis: bool


@get("/health/live", summary="Whether the process answers")
async def live() -> Live:
    """Nothing else is looked at."""
    return Live()


@get("/health/ready", summary="Whether requests should come here")
async def ready(deps: Handed[Deps]) -> Response[Ready]:
    """503 while the process drains, Postgres is silent for a second, or its schema is behind."""
    status = "draining" if deps.slots.closing else await _database(deps)
    connected = deps.queue.connected
    return Response(Ready(status, connected), status_code=200 if status == "ok" else _UNREADY)


async def _database(deps: Deps) -> Literal["ok", "database away", "schema behind"]:
    try:
        async with asyncio.timeout(_DATABASE_SECONDS), deps.db.single() as tx:
            present = await revision(tx)
    except (Unavailable, TimeoutError):
        return "database away"
    # A newer schema serves this code too: changes expand first and contract later.
    return "ok" if present is not None and present >= _needed() else "schema behind"


@cache
def _needed() -> str:
    return newest_revision() or ""


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
