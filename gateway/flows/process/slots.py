"""Slots: how much work this process has under way, per verb, against a cap.

Work loops claim no more rows than there are free slots, and start one task for each row. A task that
has run for half a second waits for a remote host, so where asked for it leaves its slot to others.
On shutdown `drain` waits for the tasks and cancels what is late; the leases of such rows lapse, and
another process takes them over. Nothing here is stored, so a crash leaves nothing.
"""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import takewhile

from gateway.ports import Clock, Verb

# How soon after a task ended its verb is looked at again: often enough to keep all slots in use.
_LOOK_AGAIN_SECONDS = 0.03
# A task that takes longer waits for a remote host: it needs a connection, but hardly any CPU.
_SLOW_SECONDS = 0.5
# Slow tasks may exceed the cap by this factor.
_SLOW_SHARE = 4


class Slots:
    """Counts the tasks of each verb, and waits for them when the process stops."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Each task with the monotonic time of its start, in that order.
        self._tasks: dict[Verb, dict[asyncio.Task[None], float]] = {}
        self._quarantined: dict[Verb, asyncio.Task[None]] = {}
        self._freed = asyncio.Event()
        self._scheduled: set[Verb] = set()
        self._look: Callable[[Verb], None] | None = None
        # The process was told to stop but still works: new requests should go to other processes.
        self.draining = False
        self.closing = False

    def on_room(self, look: Callable[[Verb], None]) -> None:
        """Call `look` with a verb whenever tasks of it have ended."""
        self._look = look

    def used(self, verb: Verb) -> int:
        """How many tasks of a verb are under way."""
        return len(self._tasks.get(verb, ()))

    def free_excluding_slow(self, verb: Verb, most: int) -> int:
        """How many more tasks may start; slow ones count only beyond `_SLOW_SHARE` times `most`."""
        tasks = self._tasks.get(verb, {})
        since = self._clock.monotonic() - _SLOW_SECONDS
        slow = sum(1 for _ in takewhile(lambda at: at <= since, tasks.values()))
        return min(most + slow, (1 + _SLOW_SHARE) * most) - len(tasks)

    def has_quarantined(self, verb: Verb) -> bool:
        """Whether quarantined work of a verb is under way."""
        return verb in self._quarantined

    def start(
        self, verb: Verb, work: Coroutine[None, None, None], *, quarantined: bool = False
    ) -> None:
        """Run some work as a task; its errors go to the event loop's handler.

        Quarantined work seems to bring processes down. Callers start it only while no other such
        work of its verb is under way.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.setdefault(verb, {})[task] = self._clock.monotonic()
        if quarantined:
            self._quarantined[verb] = task
        task.add_done_callback(lambda done: self._end(verb, done))

    def report(self, verb: Verb, error: BaseException) -> None:
        """Hand a defect to the event loop's handler, which logs it."""
        context = {"message": f"{verb} failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    async def wait_for_slot(self, seconds: float) -> None:
        """Wait until a task ends, at most so many seconds."""
        self._freed.clear()
        try:
            await asyncio.wait_for(self._freed.wait(), seconds)
        except TimeoutError:
            return

    async def wait_idle(self, verb: Verb, seconds: float) -> None:
        """Wait until no task of a verb is under way, at most so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while self.used(verb):
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            return

    async def drain(self, seconds: float) -> int:
        """Start nothing more, wait at most so many seconds, and cancel the rest; how many that is."""
        self.closing = True
        running = [task for tasks in self._tasks.values() for task in tasks]
        if not running:
            return 0
        _, late = await asyncio.wait(running, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    def look(self, verb: Verb) -> None:
        """Have a verb looked at now, if this process takes work."""
        if self._look is not None and not self.closing:
            self._look(verb)

    def _end(self, verb: Verb, task: asyncio.Task[None]) -> None:
        del self._tasks[verb][task]
        if self._quarantined.get(verb) is task:
            del self._quarantined[verb]
        self._freed.set()
        self._schedule_look(verb)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.report(verb, error)

    def _schedule_look(self, verb: Verb) -> None:
        if self._look is None or self.closing or verb in self._scheduled:
            return
        self._scheduled.add(verb)
        asyncio.get_running_loop().call_later(_LOOK_AGAIN_SECONDS, self._look_scheduled, verb)

    def _look_scheduled(self, verb: Verb) -> None:
        self._scheduled.discard(verb)
        self.look(verb)
