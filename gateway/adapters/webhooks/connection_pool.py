"""Keeps idle connections for the next request to the same receiver, and limits their number."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.adapters.webhooks.connection import Origin, WebhookConnection
from gateway.adapters.webhooks.timings import PhaseTimer, now

KEEP_SECONDS = 15.0

Open = Callable[[Origin, PhaseTimer], Awaitable[WebhookConnection]]


class ConnectionPool:
    """Hands out at most `limit` connections at once; waiting callers are served in order.

    The connection used last is used first, so that spare ones become old and are closed after
    `keep_seconds`. A caller holds one connection at most, within `async with pool.slots`.
    """

    def __init__(self, open_: Open, limit: int, keep_seconds: float = KEEP_SECONDS) -> None:
        self.slots = asyncio.Semaphore(limit)
        self._open = open_
        self._limit = limit
        self._keep_seconds = keep_seconds
        self._taken = 0
        self._idle: dict[WebhookConnection, float] = {}  # idle since when; the longest idle first
        self._idle_by_origin: dict[Origin, list[WebhookConnection]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, origin: Origin, timer: PhaseTimer, *, fresh: bool) -> WebhookConnection:
        """Return a kept or new connection to this receiver; with `fresh` always a new one."""
        self._taken += 1
        try:
            return (None if fresh else self._take_idle(origin)) or await self._new(origin, timer)
        except BaseException:
            self._taken -= 1
            raise

    def give_back(self, connection: WebhookConnection) -> None:
        """Keep a connection for the next request, or close it if it cannot be reused."""
        self._taken -= 1
        if not connection.is_reusable or connection.is_closed:
            connection.close()
            return
        self._idle[connection] = now()
        self._idle_by_origin.setdefault(connection.origin, []).append(connection)
        if self._timer is None:
            self._schedule(self._keep_seconds)

    def close(self) -> None:
        """Close the idle connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._idle):
            connection.close()

    def _take_idle(self, origin: Origin) -> WebhookConnection | None:
        kept = self._idle_by_origin.get(origin)
        if not kept:
            return None
        connection = kept[-1]
        self._forget(connection)
        return connection

    async def _new(self, origin: Origin, timer: PhaseTimer) -> WebhookConnection:
        while self._idle and self._taken + len(self._idle) > self._limit:
            next(iter(self._idle)).close()
        connection = await self._open(origin, timer)
        connection.on_end = self._forget
        return connection

    def _forget(self, connection: WebhookConnection) -> None:
        """Remove a connection from the idle ones."""
        if self._idle.pop(connection, None) is None:
            return
        kept = self._idle_by_origin[connection.origin]
        kept.remove(connection)
        if not kept:
            del self._idle_by_origin[connection.origin]

    def _schedule(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._close_expired)

    def _close_expired(self) -> None:
        self._timer = None
        while self._idle:
            connection, since = next(iter(self._idle.items()))
            left = since + self._keep_seconds - now()
            if left > 0:
                self._schedule(left)
                return
            connection.close()
