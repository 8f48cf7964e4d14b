"""Time, ids and random bytes from the operating system; no other module reads them."""

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
    """The clocks of this host; implements the port Clock."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary instant; never decreases."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await asyncio.sleep(seconds)


class PostgresClock:
    """This host's clocks, with the wall clock corrected to Postgres's, so that all hosts share one time."""

    def __init__(self, host: Clock) -> None:
        self.monotonic = host.monotonic
        self.sleep = host.sleep
        self._host = host
        self._offset = timedelta()

    @property
    def offset(self) -> timedelta:
        """The correction that is added to the clock of this host."""
        return self._offset

    def set_offset(self, offset: timedelta) -> None:
        """Set the correction; negative if the clock of this host is ahead."""
        self._offset = offset

    def now(self) -> datetime:
        """The wall clock of Postgres, by the last known correction."""
        return self._host.now() + self._offset


class SystemIds:
    """Ids that sort by time, random bytes for secrets, and jitter, which is not secure."""

    def __init__(self, clock: SharedClock | None = None) -> None:
        self._clock = clock
        self._last = 0

    def uuid(self) -> UUID:
        """Return a new uuid7, by the same clock as all stored times."""
        clock = self._clock
        return self._at(clock.now()) if clock is not None and clock.offset else uuid7()

    def random_bytes(self, count: int) -> bytes:
        """Return cryptographically secure random bytes."""
        return secrets.token_bytes(count)

    def jitter(self) -> float:
        """Return a random number from 0 up to 1."""
        return random.random()  # noqa: S311 - spreads retries, guards nothing

    def _at(self, now: datetime) -> UUID:
        """Build a uuid7: milliseconds, 12 bits of their fraction, random bits (RFC 9562, 6.2, method 3)."""
        microseconds = (now - _EPOCH) // _MICROSECOND
        self._last = max((microseconds << 12) // 1000, self._last + 1)
        milliseconds, fraction = divmod(self._last, 1 << 12)
        chance = secrets.randbits(62)
        return UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | chance)
