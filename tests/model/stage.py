"""Everything that a history plays on: time, Postgres, the outside, and two gateway processes."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import asyncpg
from typing_extensions import override

from gateway.core.crypto.cipher import Cipher
from gateway.core.policy import Policy
from gateway.flows.deps import Deps
from gateway.flows.process.slots import Slots
from gateway.store.database import open_database
from tests.fakes import FakeIds, FakeLimiter, FakeObserver, FakeQueue, FixedClock
from tests.flows.world import async_url
from tests.model.clockwork import ProcessClock
from tests.model.crew import Crew, Task
from tests.model.process import Cut, Process
from tests.model.receivers import Receivers
from tests.model.upstream import LyingUpstream

_WRONG_CLOCKS = (0.0, -600.0)  # seconds, one for each process
# Lists are used from here, as histories are short of jobs.
# Lists are used early, and no write waits for others: that would take real time.
_POLICY = Policy(list_from=3, submit_linger=0.0, deliver_linger=0.0)
_SET_CLOCK = "UPDATE fake.clock SET at = $1"
_EMPTY_TABLES = """
SELECT string_agg(format('%I', relname), ', ') FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
  AND relname NOT IN ('alembic_version', 'beacon')"""


class CountedIds(FakeIds):
    """Ids that only depend on how many there were before."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self._count = 0

    @override
    def uuid(self) -> UUID:
        self._count += 1
        return UUID(int=(0x0190_0000_0000_7000_8000 << 48) + self._count)


class Stage:
    """One a test run; `clear` makes it new for the next history."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _loop, told: self.crew.hear(told["exception"]))
        self.crew = Crew(self.loop)
        self._url = url
        self._connection = self.loop.run_until_complete(
            asyncpg.connect(url.replace("+asyncpg", ""))
        )
        self._tables = self.loop.run_until_complete(self._connection.fetchval(_EMPTY_TABLES))
        self._database = open_database(async_url(url), pool=20, name="model")
        self.processes: list[Process] = []
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        for process in self.processes:
            process.die()
        self._do(self.crew.rest())
        self.time = FixedClock()
        self.upstream = LyingUpstream(self.time, self._at_port)
        self.receivers = Receivers(self.time, self._at_port)
        self.ids = CountedIds()
        self.crew.surprises.clear()
        self._do(self._connection.execute(f"TRUNCATE {self._tables}"))
        self.pass_time(0.0)
        self.processes = [self._start(number) for number in range(len(_WRONG_CLOCKS))]

    def close(self) -> None:
        """End all."""
        self._do(self._connection.close())
        self._do(self._database.close())
        self.loop.close()

    def run(self, number: int, work: Coroutine[Any, Any, Any], cut: Cut | None = None) -> Task:
        """Have a process do something until nothing moves any more; one that died is replaced."""
        process = self.processes[number]
        process.cut = cut
        self.crew.may_lose = cut is not None
        task = self.crew.start(process, work)
        self._do(self.crew.rest())
        process.cut = None
        if not process.is_alive:
            self.processes[number] = self._start(number)
        return task

    def release(self, number: int) -> None:
        """Let the answers come that a process was kept waiting for."""
        process = self.processes[number]
        process.holds = frozenset()
        while self.crew.release_one(process):  # one by one, so that it always comes out the same
            self._do(self.crew.rest())

    def kill(self, number: int) -> None:
        """Kill a process, and start it again."""
        self.processes[number].die()
        self._do(self.crew.rest())
        self.processes[number] = self._start(number)

    def pass_time(self, seconds: float) -> None:
        """Let time pass for all."""
        self.time.advance(seconds)
        self._do(self._connection.execute(_SET_CLOCK, self.time.now()))

    def rows(self, sql: str) -> list[Any]:
        """Ask the database."""
        return self._do(self._connection.fetch(sql))

    def _start(self, number: int) -> Process:
        def deps(database: Any, crash_point: Any) -> Deps:
            clock = ProcessClock(self.time, _WRONG_CLOCKS[number])
            return Deps(
                db=database,
                upstream=self.upstream,
                catalogue=self.upstream,
                sender=self.receivers,
                queue=FakeQueue(),
                limiter=FakeLimiter(),
                clock=clock,
                ids=self.ids,
                observer=FakeObserver(),
                cipher=Cipher([bytes(32)]),
                policy=_POLICY,
                upstream_url="https://upstream.invalid/v1",
                slots=Slots(clock),
                crash_point=crash_point,
            )

        return Process(self._database, deps, self.crew)

    async def _at_port(self, call: str) -> None:
        process = self.crew.owner()
        process.step()
        if asyncio.current_task() in process.connected:
            self.upstream.breaches.append(f"a connection was held during the call {call}")
        if call in process.holds:
            await self.crew.hold()
        process.step()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)
