"""What the users of Redis in one process find, as one log line for each change."""

import structlog

from gateway.adapters.redis.failure_causes import HUNG_UP

_log = structlog.get_logger(__name__)


class RedisHealth:
    """Every user, by a name of its own, says whether Redis serves it; `trouble` is why it does not."""

    def __init__(self, place: str = "") -> None:
        self._place = place
        self._troubles: dict[str, str] = {}
        self._told: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why Redis cannot be used, in one line; None while it can."""
        return next(iter(self._troubles.values()), None)

    def lost(self, user: str, cause: str) -> None:
        """Redis does not serve a user."""
        self._troubles[user] = cause
        self._tell()

    def found(self, user: str) -> None:
        """Redis serves a user, perhaps again."""
        if self._troubles.pop(user, None) is not None:
            self._tell()

    def _tell(self) -> None:
        cause = self.trouble
        # To have been hung up on is no cause: the next try finds it, or that all is well.
        if cause in (self._told, HUNG_UP):
            return
        self._told = cause
        if cause is None:
            _log.info("redis can be used again", redis=self._place)
        else:
            _log.warning(
                "redis cannot be used: work goes on, but up to some seconds later",
                cause=cause,
                redis=self._place,
            )
