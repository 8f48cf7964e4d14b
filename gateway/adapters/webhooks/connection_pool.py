"""Connections that are kept for the next request to the same receiver, and how many there may be."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.adapters.webhooks.connection import Origin, WebhookConnection
from gateway.adapters.webhooks.timings import PhaseTimer, now

KEEP_SECONDS = 15.0

Open = Callable[[Origin, PhaseTimer], Awaitable[WebhookConnection]]


class ConnectionPool:
    """Hands out connections, at most `limit` at once; who waits for one is served in order.

    One that was used last is used first, so those that are not needed grow old and are closed.
    Within a block of `async with places` a caller may hold one connection.
    """

    def __init__(self, open_: Open, limit: int, keep_seconds: float = KEEP_SECONDS) -> None:
        self.places = asyncio.Semaphore(limit)
        self._open = open_
        self._limit = limit
        self._keep_seconds = keep_seconds
        self._taken = 0
        self._idle: dict[
            WebhookConnection, float
        ] = {}  # since when; the one that is idle longest first
        self._idle_by_origin: dict[Origin, list[WebhookConnection]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def take(
        self, origin: Origin, stopwatch: PhaseTimer, *, fresh: bool
    ) -> WebhookConnection:
        """A connection to this receiver; with `fresh` one that nobody has used."""
        self._taken += 1
        try:
            return (None if fresh else self._kept(origin)) or await self._new(origin, stopwatch)
        except BaseException:
            self._taken -= 1
            raise

    def give_back(self, connection: WebhookConnection) -> None:
        """Keep a connection for the next one, or close it where it cannot be used again."""
        self._taken -= 1
        if not connection.is_reusable or connection.is_closed:
            connection.close()
            return
        self._idle[connection] = now()
        self._idle_by_origin.setdefault(connection.origin, []).append(connection)
        if self._timer is None:
            self._wait(self._keep_seconds)

    def close(self) -> None:
        """Close the connections that are idle."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._idle):
            connection.close()

    def _kept(self, origin: Origin) -> WebhookConnection | None:
        kept = self._idle_by_origin.get(origin)
        if not kept:
            return None
        connection = kept[-1]
        self._forget(connection)
        return connection

    async def _new(self, origin: Origin, stopwatch: PhaseTimer) -> WebhookConnection:
        while self._idle and self._taken + len(self._idle) > self._limit:
            next(iter(self._idle)).close()
        connection = await self._open(origin, stopwatch)
        connection.on_end = self._forget
        return connection

    def _forget(self, connection: WebhookConnection) -> None:
        """Count a connection among the idle ones no more."""
        if self._idle.pop(connection, None) is None:
            return
        kept = self._idle_by_origin[connection.origin]
        kept.remove(connection)
        if not kept:
            del self._idle_by_origin[connection.origin]

    def _wait(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._close_the_old)

    def _close_the_old(self) -> None:
        self._timer = None
        while self._idle:
            connection, since = next(iter(self._idle.items()))
            left = since + self._keep_seconds - now()
            if left > 0:
                self._wait(left)
                return
            connection.close()
