"""The tasks of each process: which are held up, and when nothing moves any more."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.errors import GatewayError, Unavailable

_STUCK_SECONDS = 30

Task = asyncio.Task[Any]


class CrashError(BaseException):
    """The process is dead."""


class DefectError(Exception):
    """An adapter of ours is at fault."""


class Owner(Protocol):
    """A process: those of its tasks that are in the middle of something with the database."""

    connected: set[Task | None]


@dataclass
class Member:
    """Whose task it is, who started it if not we, and whether the database's driver did so."""

    owner: Owner
    parent: Task | None = None
    is_drivers: bool = False


class Crew:
    """Knows the owner of every task that a process has started, and of all that these started."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.surprises: list[BaseException] = []
        self.may_lose = False  # whether the database is made to be away
        self._loop = loop
        self._members: dict[Task, Member] = {}
        self._held: dict[Task, asyncio.Future[None]] = {}
        self._changed = asyncio.Event()
        self._next: Owner | None = None
        loop.set_task_factory(self._make)

    def start(self, owner: Owner, work: Coroutine[Any, Any, Any]) -> Task:
        """Run some work as a process."""
        self._next = owner
        try:
            return self._loop.create_task(work)
        finally:
            self._next = None

    def owner(self) -> Any:
        """The process that the present task belongs to."""
        task = asyncio.current_task()
        assert task is not None
        return self._members[task].owner

    async def hold(self) -> None:
        """Hold the present task until its process is released, or dies."""
        task = asyncio.current_task()
        assert task is not None
        self._held[task] = future = self._loop.create_future()
        self._changed.set()
        await future

    def release_one(self, owner: Owner) -> bool:
        """Let the task of a process go on that was held first; False when there is none."""
        task = next((task for task in self._held if self._members[task].owner is owner), None)
        if task is not None:
            self._held.pop(task).set_result(None)
        return task is not None

    def kill(self, owner: Owner) -> None:
        """End the tasks of a process.

        What is under way in the database comes to its end, as that does not know yet.
        """
        spared = {*owner.connected, asyncio.current_task(self._loop)}
        for task, member in list(self._members.items()):
            if member.owner is owner and task not in spared and not member.is_drivers:
                self._held.pop(task, None)
                task.cancel()

    async def rest(self) -> None:
        """Wait until every task is held, or waits for one that is."""
        async with asyncio.timeout(_STUCK_SECONDS):
            while self._is_moving():
                self._changed.clear()
                await self._changed.wait()

    def _is_moving(self) -> bool:
        # What we started starts others and goes on; what these start, they wait for.
        waiting = {member.parent for member in self._members.values()}
        return any(
            task not in self._held and (member.parent is None or task not in waiting)
            for task, member in self._members.items()
        )

    def _make(self, loop: asyncio.AbstractEventLoop, work: Any, **given: Any) -> Task:
        task = asyncio.Task(work, loop=loop, **given)
        parent = asyncio.current_task(loop)
        if self._next is not None:
            self._members[task] = Member(self._next)
        elif parent in self._members:
            owner = self._members[parent].owner
            self._members[task] = Member(owner, parent, parent in owner.connected)
        if task in self._members:
            task.add_done_callback(self._forget)
        return task

    def _forget(self, task: Task) -> None:
        del self._members[task]
        self._held.pop(task, None)
        self._changed.set()
        if not task.cancelled():
            self.hear(task.exception())

    def hear(self, error: BaseException | None) -> None:
        """Take note of an error, unless it is of a kind that is brought about here."""
        wanted = (CrashError, DefectError, GatewayError, type(None))
        lost = isinstance(error, Unavailable) and not self.may_lose
        if error is not None and (lost or not isinstance(error, wanted)):
            self.surprises.append(error)
