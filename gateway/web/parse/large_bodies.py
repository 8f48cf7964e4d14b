"""A thread that reads large bodies, so that the event loop answers other requests meanwhile.

Reading 1 MiB of JSON takes up to 0.1 s. Python switches between threads every 5 ms, so no request
holds the event loop for long. There is one such thread in a process: large bodies wait for each
other, and small ones, which are read at once, wait for none of them.
"""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from gateway.errors import GatewayError

LARGE_BYTES = 32 * 1024

P = ParamSpec("P")
T = TypeVar("T")

READER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="json-reader")


async def read_aside(size: int, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `read`, in the thread if what it reads has more than 32 KiB; raises what it raises."""
    if size <= LARGE_BYTES:
        return read(*args, **kwargs)
    return await asyncio.wrap_future(READER.submit(_without_gc, read, *args, **kwargs))


def _without_gc(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `read` while the garbage collector rests.

    A body may hold half a million lists. The collector would search them all for cycles, at once
    and for up to a second. Here they are gone before it goes on: a refusal keeps no frame that
    holds them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return read(*args, **kwargs)
    except GatewayError as refusal:
        refusal.__context__ = None
        raise refusal.with_traceback(None) from None
    finally:
        if was_enabled:
            gc.enable()
