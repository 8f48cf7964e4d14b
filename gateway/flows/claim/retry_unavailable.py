"""Patience: an outcome that is known must not be lost because the database is away for a moment."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.errors import Unavailable
from gateway.ports import Clock

_PAUSE = 0.5

T = TypeVar("T")


async def retry_while_unavailable(clock: Clock, until: float, act: Callable[[], Awaitable[T]]) -> T:
    """Do something, again while the database is away, up to a monotonic instant."""
    while True:
        try:
            return await act()
        except Unavailable:
            if clock.monotonic() + _PAUSE > until:
                raise
            await clock.sleep(_PAUSE)
