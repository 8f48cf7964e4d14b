"""Run a transaction again when Postgres rolled it back: a deadlock or a serialization conflict.

Used by flows that callers wait for: batch, deletion, endpoints, bulk operations, administration.
The first attempt changed nothing, so a second one is safe; it nearly always succeeds, because the
other transaction has ended by then. The engine's own loops need no retry: their rows stay due.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from gateway.errors import Collision

# Without a pause the second attempt would meet the same transaction again.
_PAUSE_SECONDS = 0.05

P = ParamSpec("P")
T = TypeVar("T")


def retry_on_deadlock(flow: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run a flow again, once, after a Collision; the second Collision is raised.

    The flow must have one transaction and no other effect before that is committed.
    """

    @wraps(flow)
    async def retried(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await flow(*arguments, **named)
        except Collision:
            await asyncio.sleep(_PAUSE_SECONDS)
            return await flow(*arguments, **named)

    return retried
