"""Status: the state of the whole gateway, and each fault as a code and a sentence.

It runs for `gateway status`, the status route and the console. It combines readiness, overview and
the connection to Redis. It writes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway import __version__
from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.flows.health.overview import Overview, Overviews
from gateway.flows.health.readiness import readiness
from gateway.store.processes import STALE_SECONDS, SeenProcess

_SWEEP_SECONDS = 30.0
_PRUNE_SECONDS = 3 * 3600.0
_LAG_SECONDS = 30.0
_OLDEST_SECONDS = 60.0
_CLOCK_SECONDS = 1.0


class Finding(NamedTuple):
    """A fault; `grave` if no work is done while it lasts."""

    code: str
    message: str
    grave: bool = False


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """The gateway as one API process sees it; `overview` is None if Postgres cannot be used."""

    database: str
    redis: bool
    feed_lag: float
    overview: Overview | None
    wrong: Sequence[Finding]

    @property
    def word(self) -> str:
        """One of ok, degraded, down."""
        if not self.wrong:
            return "ok"
        return "down" if any(one.grave for one in self.wrong) else "degraded"


async def status(deps: Deps, overviews: Overviews) -> GatewayStatus:
    """Collect the state of all parts."""
    state, cause = await readiness(deps)
    trouble, overview = "" if state == "ok" else f"{state}: {cause}", None
    try:
        overview = await overviews.get()
    except Unavailable as error:
        trouble = trouble or error.cause or error.detail
    redis, lag = deps.queue.connected, deps.vitals.feed_lag
    wrong = [*_of_servers(trouble, lag, redis=redis), *(problems_of(overview) if overview else ())]
    return GatewayStatus(trouble or "ok", redis, lag, overview, wrong)


def _of_servers(trouble: str, lag: float, *, redis: bool) -> Iterator[Finding]:
    if trouble:
        yield Finding("DATABASE", f"Postgres cannot be used: {trouble}.", grave=True)
    if not redis:
        yield Finding("REDIS_AWAY", "Redis is away: all goes on, a few seconds later.")
    if lag > _LAG_SECONDS:
        yield Finding(
            "FEED_LAGS",
            f"The event feed has shown nothing new for {lag:.0f} s: a transaction on the Postgres "
            "server, perhaps in another database, does not end.",
        )


def problems_of(overview: Overview) -> Iterator[Finding]:
    """The faults of processes, rounds and queues."""
    workers = [one for one in overview.processes if one.kind == "worker"]
    alive = any(one.state == "ok" for one in workers)
    if not alive:
        yield Finding("NO_WORKER", _no_worker(workers), grave=True)
    yield from _of_processes(overview, alive=alive)
    if alive and (overview.since_sweep or 0.0) > _SWEEP_SECONDS:
        since = f"{overview.since_sweep:.0f} s"
        yield Finding("SWEEP_LATE", f"The last sweep was {since} ago: look at the workers' logs.")
    if alive and (overview.since_prune or 0.0) > _PRUNE_SECONDS:
        hours = f"{(overview.since_prune or 0.0) / 3600:.0f} h"
        yield Finding("PRUNE_LATE", f"Nothing was pruned for {hours}: look at the workers' logs.")
    for line in overview.lines:
        if line.reason is None and line.seconds > _OLDEST_SECONDS:
            text = f"The oldest row in the queue {line.queue} may go and has been due for"
            yield Finding("QUEUE_SLOW", f"{text} {line.seconds:.0f} s: start more workers.")


def _no_worker(workers: Sequence[SeenProcess]) -> str:
    if not workers:
        return "No worker has ever been seen: start one with `gateway worker`."
    last = max(one.seen_at for one in workers)
    return f"No worker seen since {last:%Y-%m-%d %H:%M:%S} UTC: start one with `gateway worker`."


def _of_processes(overview: Overview, *, alive: bool) -> Iterator[Finding]:
    replaced = overview.replaced
    for one in overview.processes:
        if one.state == "ok":
            yield from _of_process(one)
        elif one.state == "stale" and one.id not in replaced and (alive or one.kind != "worker"):
            yield _stale(one)  # of workers NO_WORKER tells when none is alive


def _name(one: SeenProcess) -> str:
    return f"The {one.kind} on {one.host} (pid {one.pid})"


def _stale(one: SeenProcess) -> Finding:
    return Finding(
        f"{one.kind.upper()}_STALE",
        f"{_name(one)} has been silent for {one.silent:.0f} s, longer than {STALE_SECONDS:.0f}, and no "
        "process that started later replaces it: it is frozen, killed, or cut off from Postgres.",
    )


def _of_process(one: SeenProcess) -> Iterator[Finding]:
    name = _name(one)
    if one.version != __version__:
        yield Finding(
            "VERSION_DIFFERS", f"{name} runs version {one.version}, not {__version__}: replace it."
        )
    if abs(one.clock_ahead) > _CLOCK_SECONDS:
        way = "ahead of" if one.clock_ahead > 0 else "behind"
        yield Finding(
            "CLOCK_OFF",
            f"{name}: the clock of its host is {abs(one.clock_ahead):.1f} s {way} Postgres's, which "
            "the gateway goes by. Set up NTP there.",
        )
