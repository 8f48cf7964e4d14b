"""A thread that parses large bodies, while the event loop answers other requests.

Parsing 1 MiB of JSON takes up to 0.1 s. Python switches between threads every 5 ms, so no request
blocks the event loop for long. A process has one such thread, so large bodies wait for each other.
Small ones are parsed on the event loop and wait for none.
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


async def read_large(size: int, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `read`, in the thread if `size` is more than 32 KiB; raises what `read` raises."""
    if size <= LARGE_BYTES:
        return read(*args, **kwargs)
    return await asyncio.wrap_future(READER.submit(_without_gc, read, *args, **kwargs))


def _without_gc(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `read` with the garbage collector off.

    A body may hold half a million lists. The collector would search all of them for cycles, which
    stops the process for up to a second. They are freed before it is on again: a refusal loses
    its traceback, whose frames would keep them.
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
