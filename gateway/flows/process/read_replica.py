"""Read replica: whether history may be read from a standby just now, by a check every second.

A check compares the WAL positions of both servers, so reads need no statement more. While the replica
lags, is away or is no standby of this database, history is read from the primary. Nothing is stored:
a process that starts reads from the primary until its first check.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

from gateway.core.replica.progress import ReplicaProgress, ServerState, is_near_enough, mismatch
from gateway.errors import Unavailable
from gateway.ports import SharedClock
from gateway.store import replication
from gateway.store.connection.failure_causes import Cause, Trouble, cause_of
from gateway.store.database import Database

EVERY_SECONDS = 1.0
_LONGEST_SECONDS = 2.0
# A standby in good order has replayed a position a few milliseconds after the primary had it.
_LOOK_AGAIN_SECONDS = (0.01, 0.05)
_STEP_SECONDS = 0.05
# After these the replica is not asked again until a check has found it well.
_LASTING = frozenset(set(Trouble) - {Trouble.LOCKED, Trouble.SLOW, Trouble.BUSY})


class Fitness(NamedTuple):
    """Whether history is read from the replica; `code` is empty if so, and `cause` tells why not."""

    code: str
    cause: str = ""


_FIT = Fitness("")
_UNKNOWN = Fitness("unknown", "it has not caught up since this process started")
Listener = Callable[[Fitness], None]


class Replica:
    """The replica of one process; `listener` hears of each change."""

    def __init__(
        self,
        database: Database,
        primary: Database,
        clock: SharedClock,
        most_lag: float,
        listener: Listener = lambda _: None,
    ) -> None:
        self.database = database
        self.fitness = _UNKNOWN
        self._primary = primary
        self._clock = clock
        self._most_lag = most_lag
        self._listener = listener
        self._progress = ReplicaProgress()
        self._complete_at: float | None = None
        self._checking = asyncio.Lock()
        self._limits: set[asyncio.Timeout] = set()

    @property
    def is_fit(self) -> bool:
        """Whether history may be read from it."""
        if not self.fitness.code:
            self._judge_lag()  # the last check may be long ago
        return not self.fitness.code

    @property
    def lag(self) -> float | None:
        """By how many seconds it is behind at most, as far as is known; None before the first check."""
        since = self._progress.since if self._complete_at is None else self._complete_at
        return None if since is None else self._clock.monotonic() - since

    def holds(self, moment: datetime | None) -> bool:
        """Whether it may be read, and has everything that was committed before a moment."""
        if not self.is_fit or self._complete_at is None:
            return False
        age = timedelta(seconds=self._clock.monotonic() - self._complete_at)
        return moment is None or self._clock.now() - age >= moment

    async def reach(self, moment: datetime, seconds: float) -> bool:
        """Wait until it has everything that was committed before a moment, at most so long."""
        end = self._clock.monotonic() + seconds
        while not self.holds(moment):
            if self.fitness.code not in (_FIT.code, _UNKNOWN.code):
                return False
            if self._clock.monotonic() >= end:
                return False
            await self.check()
            if not self.holds(moment):
                await self._clock.sleep(_STEP_SECONDS)
        return True

    async def check(self) -> None:
        """Ask both servers. Never raises."""
        async with self._checking:
            at, primary = self._clock.monotonic(), await self._ask(self._primary)
            if isinstance(primary, Exception):
                return  # nobody knows what it has: the last check counts until it is too old
            self._progress.note_primary(at, primary.position)
            replica = await self._ask(self.database, primary.position)
            if isinstance(replica, Exception):
                if self._is_lost(replica):
                    self._end_reads()
                return
            if replica.position > primary.position:  # the primary may have gone on meanwhile
                primary = await self._ask(self._primary)
            if not isinstance(primary, Exception):
                self._judge(primary, replica)

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await self._clock.sleep(EVERY_SECONDS)

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Database]:
        """Read from it; raises Unavailable, and TimeoutError once a check has found it lost."""
        async with asyncio.timeout(None) as limit:
            self._limits.add(limit)
            try:
                yield self.database
            finally:
                self._limits.discard(limit)

    def is_failure(self, error: Exception) -> bool:
        """Note that a read failed on it; whether the primary may do better.

        A statement that took too long would take as long there.
        """
        cause = _cause(error)
        if cause is not None and cause.trouble is Trouble.SLOW:
            return False
        self._is_lost(error)
        return True

    def _is_lost(self, error: Exception) -> bool:
        cause = _cause(error)
        if cause is not None and cause.trouble not in _LASTING:
            return False
        text = cause.text if cause is not None else str(error)
        self._become(Fitness("away", text or type(error).__name__))
        return True

    def _end_reads(self) -> None:
        """Have reads that wait for it go to the primary: a pooler may keep their connections open."""
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            limit.reschedule(now)

    async def _ask(self, database: Database, wanted: int = 0) -> ServerState | Exception:
        """The state of a server, as soon as it has reached a position, or a moment later without it."""
        try:
            async with asyncio.timeout(_LONGEST_SECONDS), database.single() as tx:
                state = await replication.server_state(tx)
                for seconds in _LOOK_AGAIN_SECONDS:
                    if state.position >= wanted:
                        break
                    await self._clock.sleep(seconds)
                    state = state._replace(position=await replication.wal_position(tx))
                return state
        except Exception as error:  # noqa: BLE001 - whatever it is, the next check is made
            return error

    def _judge(self, primary: ServerState, replica: ServerState) -> None:
        wrong = mismatch(primary, replica)
        if wrong:
            self._progress.forget()
            self._complete_at = None
            self._become(Fitness("unfit", wrong))
            return
        self._complete_at = self._progress.complete_at(replica.position)
        self._judge_lag()

    def _judge_lag(self) -> None:
        lag = self.lag or 0.0
        near = is_near_enough(lag, self._most_lag, came_late=self.fitness.code == "late")
        if near and self._complete_at is not None:
            self._become(_FIT)
        elif not near:
            self._become(Fitness("late", f"it lags by {lag:.1f} s"))

    def _become(self, fitness: Fitness) -> None:
        is_news = fitness.code != self.fitness.code
        self.fitness = fitness
        if is_news:
            self._listener(fitness)


def _cause(error: Exception) -> Cause | None:
    """The cause of the driver's error, which Unavailable was raised for."""
    return cause_of(error.__cause__ or error if isinstance(error, Unavailable) else error)


@asynccontextmanager
async def watching(replica: Replica | None) -> AsyncGenerator[None]:
    """Check a replica, if there is one, while the block runs; the first check is made before it begins."""
    if replica is None:
        yield
        return
    await replica.check()
    task = asyncio.create_task(replica.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
