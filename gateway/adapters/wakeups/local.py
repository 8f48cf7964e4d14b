"""Local wake-ups: a process calls itself back, faster than through Redis and also without it."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from gateway.ports import Verb


class _Due(NamedTuple):
    at: float
    timer: asyncio.TimerHandle


class LocalWakeups:
    """Calls back for a verb at once or later, once for the earliest time; inert without a callback."""

    def __init__(self) -> None:
        self._callback: Callable[[Verb], None] | None = None
        self._due: dict[Verb, _Due] = {}

    def call_back(self, callback: Callable[[Verb], None]) -> None:
        """Call this for every verb that falls due."""
        self._callback = callback

    def wake_now(self, verb: Verb) -> None:
        """Call back for a verb now."""
        if self._callback is not None:
            self._callback(verb)

    def wake_later(self, verb: Verb, seconds: float) -> None:
        """Call back for a verb in `seconds`, unless it falls due earlier already."""
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
        """Cancel the pending wake-ups and forget the callback."""
        for due in self._due.values():
            due.timer.cancel()
        self._due.clear()
        self._callback = None

    def _fire(self, verb: Verb) -> None:
        del self._due[verb]
        self.wake_now(verb)
