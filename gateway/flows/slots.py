"""The room that one process has for work, and the work that is under way in it."""

import asyncio
from collections.abc import Callable, Coroutine

from gateway.ports import Verb

# How soon after some work ended its verb looks for more: often enough to keep a capped lane full.
_LOOK_AGAIN_SECONDS = 0.03


class Slots:
    """Counts tasks per verb against a cap, and waits for them when the process stops."""

    def __init__(self) -> None:
        self._tasks: dict[Verb, set[asyncio.Task[None]]] = {}
        self._freed = asyncio.Event()
        self._looking: set[Verb] = set()
        self._look: Callable[[Verb], None] | None = None
        self.closing = False

    def on_room(self, look: Callable[[Verb], None]) -> None:
        """Have a verb looked after again whenever its work has made room for more."""
        self._look = look

    def used(self, verb: Verb) -> int:
        """How many tasks of a verb are under way."""
        return len(self._tasks.get(verb, ()))

    def start(self, verb: Verb, work: Coroutine[None, None, None]) -> None:
        """Run some work; its errors go to the event loop's handler."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.setdefault(verb, set()).add(task)
        task.add_done_callback(lambda done: self._end(verb, done))

    async def freed(self, seconds: float) -> None:
        """Wait until some work ends, or so many seconds."""
        self._freed.clear()
        try:
            await asyncio.wait_for(self._freed.wait(), seconds)
        except TimeoutError:
            return

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
        self._tasks[verb].discard(task)
        self._freed.set()
        self._look_again(verb)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler(
                {"message": f"{verb} failed", "exception": error, "task": task}
            )

    def _look_again(self, verb: Verb) -> None:
        if self._look is None or self.closing or verb in self._looking:
            return
        self._looking.add(verb)
        asyncio.get_running_loop().call_later(_LOOK_AGAIN_SECONDS, self._now, verb)

    def _now(self, verb: Verb) -> None:
        self._looking.discard(verb)
        if self._look is not None and not self.closing:
            self._look(verb)
