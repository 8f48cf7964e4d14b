"""Time, identity and chance from the operating system; the only place that asks for them."""

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from gateway.ports import Clock, SharedClock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SystemClock:
    """The clocks of this host."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some instant, never going back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""
        await asyncio.sleep(seconds)


class PostgresClock:
    """The clocks of this host, the wall clock set by that of Postgres: all hosts have one time."""

    def __init__(self, host: Clock) -> None:
        self.monotonic = host.monotonic
        self.sleep = host.sleep
        self._host = host
        self._offset = timedelta()

    @property
    def offset(self) -> timedelta:
        """What is added to the clock of this host."""
        return self._offset

    def set_offset(self, offset: timedelta) -> None:
        """Add so much to the clock of this host; negative where that is ahead."""
        self._offset = offset

    def now(self) -> datetime:
        """The wall clock of Postgres, as far as it is known."""
        return self._host.now() + self._offset


class SystemIds:
    """Ids that sort by time, random bytes fit for secrets, and jitter that is not."""

    def __init__(self, clock: SharedClock | None = None) -> None:
        self._clock = clock
        self._last = 0

    def uuid(self) -> UUID:
        """A new uuid7, by the clock that times are told by."""
        clock = self._clock
        return self._at(clock.now()) if clock is not None and clock.offset else uuid7()

    def random_bytes(self, count: int) -> bytes:
        """Bytes that nobody can guess."""
        return secrets.token_bytes(count)

    def jitter(self) -> float:
        """A number from 0 up to 1."""
        return random.random()  # noqa: S311 - spreads retries, guards nothing

    def _at(self, now: datetime) -> UUID:
        """Milliseconds, 12 bits of what is below them, and chance: RFC 9562, 6.2, method 3."""
        microseconds = (now - _EPOCH) // _MICROSECOND
        self._last = max((microseconds << 12) // 1000, self._last + 1)
        milliseconds, fraction = divmod(self._last, 1 << 12)
        chance = secrets.randbits(62)
        return UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | chance)
