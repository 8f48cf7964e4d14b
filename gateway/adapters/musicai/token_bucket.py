"""Token bucket: at most so many calls a second, in a burst of at most one second's worth.

Who asks for a status or a list goes before who submits: what is known soon makes room for more.
"""

import asyncio
from collections import deque


class TokenBucket:
    """The calls of one credential, made by one process; `rate` is calls a second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(rate, 1.0)
        self._tokens = self._most
        self._at = asyncio.get_running_loop().time()
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Whether it is as a new one is, so that it can be forgotten."""
        self._refill()
        return self._tokens >= self._most and not self._urgent and not self._others

    async def take(self, *, urgent: bool) -> None:
        """Wait for a token; in the order of coming, but that the urgent go first."""
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
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
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
            if not turn.done():  # who was cancelled takes no token along
                self._tokens -= 1
                turn.set_result(None)
        self._arm()
