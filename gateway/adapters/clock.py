"""Time, identity and chance from the operating system; the only place that asks for them."""

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some instant, never going back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""
        await asyncio.sleep(seconds)


class SystemIds:
    """Ids that sort by time, random bytes fit for secrets, and jitter that is not."""

    def uuid(self) -> UUID:
        """A new uuid7."""
        return uuid7()

    def random_bytes(self, count: int) -> bytes:
        """Bytes that nobody can guess."""
        return secrets.token_bytes(count)

    def jitter(self) -> float:
        """A number from 0 up to 1."""
        return random.random()  # noqa: S311 - spreads retries, guards nothing
