"""Hears what other processes announce, and reports when messages may have been missed.

Redis's pub/sub keeps nothing: after every reconnect the listeners get the subject `*`, so that they
read everything again.
"""

from collections.abc import Callable

from redis.asyncio import Redis

from gateway.adapters.redis.client import LOST
from gateway.adapters.wakeups.redis_commands import ANNOUNCE_CHANNEL, Subscription, back_off
from gateway.ports import Clock, Ids

EVERYTHING = "*"  # the subject that stands for all subjects

_IDLE_SECONDS = 5.0


class Announcements:
    """Passes each subject to every listener; `connected` while no message can be missed.

    `on_lost` is called when the connection breaks. `on_change` is called with the error then, and
    with None when it is back.
    """

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
        """Call this with every announced subject, and with `*` when some may have been missed."""
        self._listeners.append(callback)

    def notify(self, subject: str) -> None:
        """Call this process's own listeners."""
        for callback in self._listeners:
            callback(subject)

    async def run(self) -> None:
        """Receive announcements until cancelled; reconnects with back-off."""
        failures = 0
        while True:
            try:
                async with Subscription(self._redis, ANNOUNCE_CHANNEL) as subscription:
                    failures = 0
                    await self._receive(subscription)
            except LOST as error:
                self.connected = False
                self._on_lost()
                self._on_change(error)
                failures += 1
                await back_off(self._clock, self._ids, failures)

    async def _receive(self, subscription: Subscription) -> None:
        self.connected = True
        self._on_change(None)
        self.notify(EVERYTHING)
        is_pinged = False
        while True:
            subject = await subscription.next(_IDLE_SECONDS)
            if subject:
                self.notify(subject)
            elif subject is None and is_pinged:
                raise TimeoutError("redis does not answer")
            elif subject is None:
                await subscription.ping()
            is_pinged = subject is None
