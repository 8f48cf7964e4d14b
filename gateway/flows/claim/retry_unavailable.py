"""Repeat a write while the database is unreachable, until the lease of its rows ends.

Used after calls to the upstream and to receivers: their outcome is known only to this process, and a
lost one costs a lookup or a second webhook. After the lease the row is another process's.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.errors import Unavailable
from gateway.ports import Clock

_PAUSE_SECONDS = 0.5

T = TypeVar("T")


async def retry_while_unavailable(clock: Clock, until: float, act: Callable[[], Awaitable[T]]) -> T:
    """Call `act` until it does not raise Unavailable; at the monotonic time `until` that is raised."""
    while True:
        try:
            return await act()
        except Unavailable:
            if clock.monotonic() + _PAUSE_SECONDS > until:
                raise
            await clock.sleep(_PAUSE_SECONDS)
