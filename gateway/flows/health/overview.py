"""Overview: queues, processes, failing endpoints and last rounds of the whole gateway.

It runs for the status, the metrics and the console. One question a second is put to Postgres, however
many ask, and fewer if Postgres takes long. It writes nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from uuid import UUID

from gateway.core.webhooks.judge_reply import failing_percent
from gateway.errors import Unavailable
from gateway.flows.deliver.endpoint_health import REASONS
from gateway.flows.deps import Deps
from gateway.store import processes
from gateway.store.processes import SeenProcess
from gateway.store.webhooks import endpoints
from gateway.store.work import bulk_operations, queues
from gateway.store.work.queues import QueueLine

FAILING_PERCENTS = (50, 70, 90, 100)
_LONGEST_SECONDS = 5.0
# An answer is reused for a second, or for so many times the seconds that it took.
_REMEMBERED_SECONDS = 1.0
_SHARE = 20.0


@dataclass(frozen=True, slots=True)
class Overview:
    """The gateway at one moment; `since_...` are seconds, None if there was no such round yet.

    `operations` are the bulk operations that run.
    """

    states: Mapping[str, int]
    lines: Sequence[QueueLine]
    processes: Sequence[SeenProcess]
    failing: Mapping[int, int]
    since_sweep: float | None
    since_prune: float | None
    operations: int = 0

    @property
    def tenants_waiting(self) -> int:
        """How many tenants have jobs to submit."""
        return sum(line.tenants for line in self.lines)

    @property
    def replaced(self) -> Set[UUID]:
        """The silent processes that a later one has replaced, as after a kill and a restart."""
        return _replaced(self.processes)


class Overviews:
    """The overviews of one process; Postgres has so many seconds to answer."""

    def __init__(self, deps: Deps, seconds: float = _LONGEST_SECONDS) -> None:
        self._deps = deps
        self._seconds = seconds
        self._asking = asyncio.Lock()
        self._known: Overview | Unavailable | None = None
        self._until = 0.0

    async def get(self) -> Overview:
        """The overview, about a second old at most; raises Unavailable."""
        async with self._asking:
            if self._known is None or self._deps.clock.monotonic() >= self._until:
                await self._ask()
        if isinstance(self._known, Overview):
            return self._known
        raise self._known or Unavailable("Postgres was not asked.", retry_after=1)

    async def _ask(self) -> None:
        started = self._deps.clock.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                self._known = await overview(self._deps)
        except TimeoutError:
            self._known = Unavailable("Postgres took too long to count.", retry_after=1)
        except Unavailable as error:
            self._known = error
        now = self._deps.clock.monotonic()
        self._until = now + max(_REMEMBERED_SECONDS, _SHARE * (now - started))


async def overview(deps: Deps) -> Overview:
    """Read the overview from Postgres; raises Unavailable."""
    policy = deps.policy
    async with deps.db.single() as tx:
        since_sweep, since_prune = await processes.last_rounds(tx)
        failing = await endpoints.failing(tx, REASONS)
        return Overview(
            states=await queues.states(tx),
            lines=await queues.lines(
                tx,
                breaker=policy.breaker_failures,
                in_flight=policy.max_in_flight,
                window=policy.window_start,
                lease=policy.lease,
            ),
            processes=await processes.seen(tx),
            failing=_counted(failing),
            since_sweep=since_sweep,
            since_prune=since_prune,
            operations=await bulk_operations.running_of_all(tx),
        )


def _counted(failing: Sequence[endpoints.Failing]) -> dict[int, int]:
    """How many endpoints are at least so many percent on the way to be disabled."""
    percents = [
        100 if one.is_disabled else failing_percent(one.seconds, one.failures) for one in failing
    ]
    return {most: sum(percent >= most for percent in percents) for most in FAILING_PERCENTS}


def _replaced(processes: Sequence[SeenProcess]) -> set[UUID]:
    """The silent processes that have a replacement.

    A replacement is healthy, of the same kind, and started after the last heartbeat of the silent one.
    It counts for one silent process only. A frozen process has none, because nothing restarted it.
    """
    found: set[UUID] = set()
    for kind in {one.kind for one in processes}:
        same = [one for one in processes if one.kind == kind]
        starts = iter(sorted(one.started_at for one in same if one.state == "ok"))
        silent = sorted((one.seen_at, one.id) for one in same if one.state == "stale")
        # `any` uses up the starts it looks at, and earlier ones are too early for the next one too.
        found.update(id_ for seen_at, id_ in silent if any(at > seen_at for at in starts))
    return found
