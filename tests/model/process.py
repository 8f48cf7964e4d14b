"""A gateway process that can be held, cut off from its database, and killed at any step."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from uuid import UUID

from typing_extensions import override

from gateway.errors import Unavailable
from gateway.flows.accept.acceptor import Acceptor
from gateway.flows.deliver.deliverer import Deliverer
from gateway.flows.deps import Deps
from gateway.flows.maintain.sweep import sweep
from gateway.flows.poll.poller import Poller
from gateway.flows.submit.reconcile import Reconciler
from gateway.flows.submit.submitter import Submitter
from gateway.ports import Verb
from gateway.store.database import Database, Tx
from tests.model.crew import CrashError, Crew, Task

Work = Literal["sweep", "doubt", "submit", "poll", "deliver"]
WAKES: tuple[Work, ...] = ("doubt", "submit", "poll", "deliver")
ALL: tuple[Work, ...] = ("sweep", *WAKES)
CALLS = ("submit", "send", "status", "fetch", "page", "delete")
_ROOM = 50


@dataclass
class Cut:
    """What happens at the nth step from now: the process dies, or the database goes away.

    `unsaid` is a statement or commit that was carried out, and whose answer never came.
    """

    kind: Literal["crash", "away", "unsaid"]
    after: int = 0

    def is_due(self, *kinds: str) -> bool:
        """Count a step."""
        if self.kind not in kinds:
            return False
        self.after -= 1
        return self.after == -1


@dataclass
class Round:
    """All jobs upstream come to a status, some time passes, and then a process does some work.

    From then on its calls named in `holds` have no answer, until it is let go.
    """

    seconds: float
    number: int
    works: tuple[Work, ...] = WAKES
    cut: Cut | None = None
    status: str | None = None
    holds: frozenset[str] = frozenset()


class Process:
    """The flows of one process. `make_deps` is given its database and its crash points."""

    def __init__(
        self,
        database: Database,
        make_deps: Callable[[Database, Callable[[str], None]], Deps],
        crew: Crew,
    ) -> None:
        self.is_alive = True
        self.cut: Cut | None = None
        self.holds = frozenset[str]()
        self.connected: set[Task | None] = set()  # tasks that use a connection of the database
        self._crew = crew
        self.deps = make_deps(FrailDatabase(database, self), self._reached)
        self.acceptor = Acceptor(self.deps)
        self._reconciler = Reconciler(self.deps)
        self._submitter = Submitter(self.deps)
        self._poller = Poller(self.deps)
        self._deliverer = Deliverer(self.deps)

    async def work(self, works: Sequence[Work]) -> None:
        """Do each of these once."""
        verbs: dict[Work, Callable[[], Awaitable[Any]]] = {
            "sweep": lambda: sweep(self.deps),
            "doubt": self._reconciler.claim,
            "submit": lambda: self._carefully("submit", self._submitter),
            "poll": lambda: self._poller.claim(_ROOM),
            "deliver": lambda: self._carefully("deliver", self._deliverer),
        }
        for work in works:
            await verbs[work]()

    async def _carefully(self, verb: Verb, worker: Submitter | Deliverer) -> None:
        """As a session does: what broke before is handled while nothing else of its kind is."""
        if self.deps.slots.used(verb) or not await worker.claim_quarantined():
            await worker.claim(_ROOM)

    def step(self, *kinds: str) -> bool:
        """Whether now is when something of that kind happens; ends the process if that is it."""
        if not self.is_alive:
            raise CrashError
        if self.cut is None or not self.cut.is_due(*kinds):
            return False
        if self.cut.kind == "crash":
            self.die()
            raise CrashError
        return True

    def die(self) -> None:
        """Be killed."""
        self.is_alive = False
        self._crew.kill(self)

    def _reached(self, _point: str) -> None:
        self.step("crash")


class FrailDatabase(Database):
    """The database as a process sees it that may lose it."""

    def __init__(self, inner: Database, process: Process) -> None:
        self._inner = inner
        self._process = process

    @override
    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[Tx]:
        async with self._frail(self._inner.begin) as tx:
            yield tx

    @override
    @asynccontextmanager
    async def single(self) -> AsyncGenerator[Tx]:
        async with self._frail(self._inner.single) as tx:
            yield tx

    @override
    @asynccontextmanager
    async def of(self, *tenant_ids: UUID) -> AsyncGenerator[Tx]:
        async with self._frail(partial(self._inner.of, *tenant_ids)) as tx:
            yield tx

    @asynccontextmanager
    async def _frail(self, use: Callable[[], Any]) -> AsyncGenerator[Tx]:
        is_cut = self._process.step("away", "unsaid")
        lost = Unavailable("the database is away", retry_after=1)
        if is_cut and self._process.cut and self._process.cut.kind == "away":
            raise lost
        task = asyncio.current_task()
        self._process.connected.add(task)
        try:
            async with use() as tx:
                yield tx
        finally:
            self._process.connected.discard(task)
        self._process.step()
        if is_cut:
            raise lost
