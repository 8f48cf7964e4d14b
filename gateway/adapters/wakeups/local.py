"""Wake-ups of a process for itself: sooner than by way of Redis, and also while that is away."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from gateway.ports import Verb


class _Due(NamedTuple):
    at: float
    timer: asyncio.TimerHandle


class LocalWakeups:
    """Calls back for a verb at once or later, for each the earliest; without a callback, nothing."""

    def __init__(self) -> None:
        self._callback: Callable[[Verb], None] | None = None
        self._due: dict[Verb, _Due] = {}

    def to(self, callback: Callable[[Verb], None]) -> None:
        """Have verbs called back that are due."""
        self._callback = callback

    def now(self, verb: Verb) -> None:
        """A verb is due."""
        if self._callback is not None:
            self._callback(verb)

    def later(self, verb: Verb, seconds: float) -> None:
        """A verb is due in so many seconds, unless it is before."""
        if self._callback is None:
            return
        loop = asyncio.get_running_loop()
        at, known = loop.time() + seconds, self._due.get(verb)
        if known is not None and known.at <= at:
            return
        if known is not None:
            known.timer.cancel()
        self._due[verb] = _Due(at, loop.call_later(seconds, self._fire, verb))

    def stop(self) -> None:
        """Nothing is due any more."""
        for due in self._due.values():
            due.timer.cancel()
        self._due.clear()
        self._callback = None

    def _fire(self, verb: Verb) -> None:
        del self._due[verb]
        self.now(verb)
