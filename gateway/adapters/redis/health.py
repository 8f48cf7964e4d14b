"""Whether Redis serves the parts of one process, with one log line for each change."""

import structlog

from gateway.adapters.redis.failure_causes import HUNG_UP

_log = structlog.get_logger(__name__)


class RedisHealth:
    """Collects by name which parts of the process Redis serves; `trouble` is the first reason against."""

    def __init__(self, place: str = "") -> None:
        self._place = place
        self._troubles: dict[str, str] = {}
        self._reported: str | None = None

    @property
    def trouble(self) -> str | None:
        """The reason why Redis cannot be used, in one line; None while it can."""
        return next(iter(self._troubles.values()), None)

    def lost(self, user: str, cause: str) -> None:
        """Report that Redis does not serve a part of the process."""
        self._troubles[user] = cause
        self._report()

    def found(self, user: str) -> None:
        """Report that Redis serves a part of the process."""
        if self._troubles.pop(user, None) is not None:
            self._report()

    def _report(self) -> None:
        cause = self.trouble
        # A closed connection alone is no cause: the next try finds the cause, or works.
        if cause in (self._reported, HUNG_UP):
            return
        self._reported = cause
        if cause is None:
            _log.info("redis can be used again", redis=self._place)
        else:
            _log.warning(
                "redis cannot be used: work goes on, but up to some seconds later",
                cause=cause,
                redis=self._place,
            )
