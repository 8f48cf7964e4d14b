"""Hears what other processes announce, and says so when some of it may have been missed."""

from collections.abc import Callable

from redis.asyncio import Redis

from gateway.adapters.redis.client import LOST
from gateway.adapters.wakeups.redis_commands import CHANGES, Subscription, back_off
from gateway.ports import Clock, Ids

EVERYTHING = "*"  # the subject that stands for all of them

_IDLE_SECONDS = 5.0


class Announcements:
    """Tells every listener each subject; `connected` while nothing can be missed."""

    def __init__(
        self,
        redis: Redis,
        clock: Clock,
        ids: Ids,
        *,
        on_lost: Callable[[], None],
        on_change: Callable[[Exception | None], None],
    ) -> None:
        self.connected = False
        self._redis = redis
        self._clock = clock
        self._ids = ids
        self._on_lost = on_lost
        self._on_change = on_change
        self._listeners: list[Callable[[str], None]] = []

    def listen(self, callback: Callable[[str], None]) -> None:
        """Have every announced subject told, and `*` whenever some may have been missed."""
        self._listeners.append(callback)

    def tell(self, subject: str) -> None:
        """Tell this process's own listeners."""
        for callback in self._listeners:
            callback(subject)

    async def run(self) -> None:
        """Hear until cancelled, also through times without Redis."""
        failures = 0
        while True:
            try:
                async with Subscription(self._redis, CHANGES) as subscription:
                    failures = 0
                    await self._hear(subscription)
            except LOST as error:
                self.connected = False
                self._on_lost()
                self._on_change(error)
                failures += 1
                await back_off(self._clock, self._ids, failures)

    async def _hear(self, subscription: Subscription) -> None:
        self.connected = True
        self._on_change(None)
        self.tell(EVERYTHING)
        is_asked = False
        while True:
            subject = await subscription.next(_IDLE_SECONDS)
            if subject:
                self.tell(subject)
            elif subject is None and is_asked:
                raise TimeoutError("redis has fallen silent")
            elif subject is None:
                await subscription.ping()
            is_asked = subject is None
