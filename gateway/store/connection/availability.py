"""Whether the database is well, and why not; who listens hears of each change once."""

import asyncio
from collections.abc import Callable

from gateway.store.connection.failure_causes import Cause, Trouble

# A failure is over when nothing has failed for so long: reads go on while a disk is full, and
# some connections work while the server takes no more.
_CALM_SECONDS = 2.0
_LASTING = frozenset(set(Trouble) - {Trouble.LOCKED, Trouble.SLOW})
# What concerns single statements is told so often at the most.
_REPEAT_SECONDS = 5.0

Listener = Callable[[Cause | None], None]


class Availability:
    """The present trouble of one pool; None while it is well."""

    def __init__(self) -> None:
        self.cause: Cause | None = None
        self._failed_at = 0.0
        self._told: dict[str, float] = {}
        self._tell: Listener = _to_nobody

    def on_change(self, tell: Listener) -> None:
        """Have the cause told when it changes, and None when all is well again."""
        self._tell = tell

    def failed(self, cause: Cause | None) -> None:
        """Take note of a failure; what only concerns one statement changes nothing."""
        if cause is None:
            return
        now = asyncio.get_running_loop().time()
        if cause.trouble in _LASTING:
            self._failed_at = now
            is_news = self.cause is None or self.cause.name != cause.name
            self.cause = cause
        else:
            is_news = now - self._told.get(cause.name, -_REPEAT_SECONDS) >= _REPEAT_SECONDS
            self._told[cause.name] = now if is_news else self._told[cause.name]
        if is_news:
            self._tell(cause)

    def well(self) -> None:
        """Take note of a success."""
        if self.cause is None:
            return
        if asyncio.get_running_loop().time() - self._failed_at >= _CALM_SECONDS:
            self.cause = None
            self._tell(None)


def _to_nobody(_cause: Cause | None) -> None:
    """Nobody listens."""
