"""A deadlock costs its loser one more try, which nobody sees."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from gateway.errors import Collision

# At once it would meet the same transaction again.
_PAUSE_SECONDS = 0.05

P = ParamSpec("P")
T = TypeVar("T")


def once_more(flow: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run a flow a second time when its transaction collided with another one, and was undone.

    For flows of one transaction, after which nothing else asks the database.
    """

    @wraps(flow)
    async def tried(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await flow(*arguments, **named)
        except Collision:
            await asyncio.sleep(_PAUSE_SECONDS)
            return await flow(*arguments, **named)

    return tried
