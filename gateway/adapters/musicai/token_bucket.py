"""A token bucket: limits calls per second, with bursts of at most one second's worth.

Reads (status, list) precede submits: a job that is known to have ended makes room for the next one.
"""

import asyncio
from collections import deque


class TokenBucket:
    """The token bucket of one credential in one process; `rate` is calls per second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._capacity = max(rate, 1.0)
        self._tokens = self._capacity
        self._at = asyncio.get_running_loop().time()
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Whether it equals a new bucket, so that it can be dropped."""
        self._refill()
        return self._tokens >= self._capacity and not self._urgent and not self._others

    async def take(self, *, urgent: bool) -> None:
        """Wait for a token; callers are served in order, urgent ones first."""
        self._refill()
        if self._tokens >= 1 and not self._urgent and (urgent or not self._others):
            self._tokens -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._others).append(turn)
        self._arm()
        await turn

    def _refill(self) -> None:
        now = asyncio.get_running_loop().time()
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now

    def _arm(self) -> None:
        if self._timer is None and (self._urgent or self._others):
            wait = max(1 - self._tokens, 0) / self._rate
            self._timer = asyncio.get_running_loop().call_later(wait, self._hand_out)

    def _hand_out(self) -> None:
        self._timer = None
        self._refill()
        while self._tokens >= 1 and (queue := self._urgent or self._others):
            turn = queue.popleft()
            if not turn.done():  # a cancelled caller takes no token
                self._tokens -= 1
                turn.set_result(None)
        self._arm()
