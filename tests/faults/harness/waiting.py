"""Waits until a condition is true, with a time limit."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_STEP_SECONDS = 0.1


async def until(ask: Callable[[], Awaitable[T]], seconds: float) -> T:
    """The first answer that is true; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            if answer := await ask():
                return answer
            await asyncio.sleep(_STEP_SECONDS)
