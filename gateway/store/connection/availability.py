"""Whether the database is available, and if not, why. A listener hears of each change once."""

import asyncio
from collections.abc import Callable

from gateway.store.connection.failure_causes import Cause, Trouble

# A failure is over once nothing has failed for this long. One success does not end it: reads work while a
# disk is full, and some connections work while the server accepts no new ones.
_RECOVERY_SECONDS = 2.0
_LASTING = frozenset(set(Trouble) - {Trouble.LOCKED, Trouble.SLOW})
# A failure of single statements is reported at most this often.
_REPEAT_SECONDS = 5.0

Listener = Callable[[Cause | None], None]


class Availability:
    """Why the database of one pool is unavailable: `cause`, None while it is available."""

    def __init__(self) -> None:
        self.cause: Cause | None = None
        self._failed_at = 0.0
        self._reported_at: dict[str, float] = {}
        self._listener: Listener = _ignore

    def on_change(self, listener: Listener) -> None:
        """Call the listener with each new cause, and with None when the database is available again."""
        self._listener = listener

    def note_failure(self, cause: Cause | None) -> None:
        """Note a failure; one that concerns a single statement does not change the cause."""
        if cause is None:
            return
        now = asyncio.get_running_loop().time()
        if cause.trouble in _LASTING:
            self._failed_at = now
            is_news = self.cause is None or self.cause.name != cause.name
            self.cause = cause
        else:
            is_news = now - self._reported_at.get(cause.name, -_REPEAT_SECONDS) >= _REPEAT_SECONDS
            self._reported_at[cause.name] = now if is_news else self._reported_at[cause.name]
        if is_news:
            self._listener(cause)

    def note_success(self) -> None:
        """Note a success."""
        if self.cause is None:
            return
        if asyncio.get_running_loop().time() - self._failed_at >= _RECOVERY_SECONDS:
            self.cause = None
            self._listener(None)


def _ignore(_cause: Cause | None) -> None:
    """The listener until one is set."""
