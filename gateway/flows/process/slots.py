"""The room that one process has for work, and the work that is under way in it."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import takewhile

from gateway.ports import Verb

# How soon after some work ended its verb looks for more: often enough to keep a capped lane full.
_LOOK_AGAIN_SECONDS = 0.03
# Work that takes longer than this waits for somebody else: it needs a connection, but no time.
_SLOW_SECONDS = 0.5
# Of such work there may be so many times as much besides.
_SLOW_SHARE = 4


class Slots:
    """Counts tasks per verb against a cap, and waits for them when the process stops."""

    def __init__(self) -> None:
        # With the instant of their start, and in that order.
        self._tasks: dict[Verb, dict[asyncio.Task[None], float]] = {}
        self._suspects: dict[Verb, asyncio.Task[None]] = {}
        self._freed = asyncio.Event()
        self._looking: set[Verb] = set()
        self._look: Callable[[Verb], None] | None = None
        # Told to stop, but still at work: others should get what comes.
        self.draining = False
        self.closing = False

    def on_room(self, look: Callable[[Verb], None]) -> None:
        """Have a verb looked after again whenever its work has made room for more."""
        self._look = look

    def used(self, verb: Verb) -> int:
        """How many tasks of a verb are under way."""
        return len(self._tasks.get(verb, ()))

    def free_excluding_slow(self, verb: Verb, most: int) -> int:
        """How many more tasks may start where those that take long leave their room to others."""
        tasks = self._tasks.get(verb, {})
        since = asyncio.get_running_loop().time() - _SLOW_SECONDS
        slow = sum(1 for _ in takewhile(lambda at: at <= since, tasks.values()))
        return min(most + slow, (1 + _SLOW_SHARE) * most) - len(tasks)

    def has_suspect(self, verb: Verb) -> bool:
        """Whether suspect work of a verb is under way."""
        return verb in self._suspects

    def start(
        self, verb: Verb, work: Coroutine[None, None, None], *, suspect: bool = False
    ) -> None:
        """Run some work; its errors go to the event loop's handler.

        Suspect is what seems to bring processes down, and is to be started only where none is.
        """
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        self._tasks.setdefault(verb, {})[task] = loop.time()
        if suspect:
            self._suspects[verb] = task
        task.add_done_callback(lambda done: self._end(verb, done))

    def report(self, verb: Verb, error: BaseException) -> None:
        """Hand a defect to the event loop's handler, which logs it."""
        context = {"message": f"{verb} failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    async def wait_for_slot(self, seconds: float) -> None:
        """Wait until some work ends, or so many seconds."""
        self._freed.clear()
        try:
            await asyncio.wait_for(self._freed.wait(), seconds)
        except TimeoutError:
            return

    async def wait_idle(self, verb: Verb, seconds: float) -> None:
        """Wait until no work of a verb is under way, or so many seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self.used(verb) and (left := until - loop.time()) > 0:
            await self.wait_for_slot(left)

    async def drain(self, seconds: float) -> int:
        """Start nothing more, wait for what runs, cut the rest off; how many were cut off."""
        self.closing = True
        running = [task for tasks in self._tasks.values() for task in tasks]
        if not running:
            return 0
        _, late = await asyncio.wait(running, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    def _end(self, verb: Verb, task: asyncio.Task[None]) -> None:
        del self._tasks[verb][task]
        if self._suspects.get(verb) is task:
            del self._suspects[verb]
        self._freed.set()
        self._look_again(verb)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.report(verb, error)

    def _look_again(self, verb: Verb) -> None:
        if self._look is None or self.closing or verb in self._looking:
            return
        self._looking.add(verb)
        asyncio.get_running_loop().call_later(_LOOK_AGAIN_SECONDS, self._look_later, verb)

    def look(self, verb: Verb) -> None:
        """Have a verb looked after at once, if this process takes work."""
        if self._look is not None and not self.closing:
            self._look(verb)

    def _look_later(self, verb: Verb) -> None:
        self._looking.discard(verb)
        self.look(verb)
