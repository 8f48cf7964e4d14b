"""Rate limits over all processes, counted in Redis; each process counts alone while Redis is away."""

import asyncio
from typing import Any

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gateway.adapters.redis.client import LOST, pool_of
from gateway.ports import Allowance, Clock

_PREFIX = "gateway:rate"
_TIMEOUT_SECONDS = 0.5
# How long a process counts alone before it tries Redis again.
_LOCAL_SECONDS = 5.0


class WindowLimiter:
    """Implements the port Limiter with a sliding window of one second; close it with `aclose`."""

    def __init__(self, redis_url: str, clock: Clock) -> None:
        self._clock = clock
        self._local_until = float("-inf")
        self._pool = pool_of(redis_url, _TIMEOUT_SECONDS)
        storage: Any = RedisStorage
        shared = storage(
            "async+redis://",  # the pool knows where it is
            implementation="redispy",
            key_prefix=_PREFIX,
            connection_pool=self._pool,
        )
        self._shared = SlidingWindowCounterRateLimiter(shared)
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def hit(self, subject: str, per_second: int) -> Allowance:
        """Count one request, and return whether it is allowed."""
        if self._clock.monotonic() >= self._local_until:
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    return await self._hit(self._shared, subject, per_second)
            except LOST:
                self._local_until = self._clock.monotonic() + _LOCAL_SECONDS
        return await self._hit(self._local, subject, per_second)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def _hit(
        self, limiter: SlidingWindowCounterRateLimiter, subject: str, per_second: int
    ) -> Allowance:
        item = RateLimitItemPerSecond(per_second)
        allowed = await limiter.hit(item, subject)
        window = await limiter.get_window_stats(item, subject)
        reset = window.reset_time - self._clock.now().timestamp()
        return Allowance(allowed, per_second, window.remaining, min(max(reset, 0.0), 1.0))
