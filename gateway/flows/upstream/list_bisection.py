"""Bisection of a paged list that is sorted by creation, in either direction."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Literal

from gateway.ports import UpstreamJob

Order = Literal["newest", "oldest"]
# A list with more pages is taken for endless.
_MOST_PAGES = 2**24


class EndlessListError(Exception):
    """Every page that was read lies before the wanted place."""


async def first_page(is_before: Callable[[int], Awaitable[bool]]) -> int:
    """The number of the first page that does not lie before the wanted place.

    Reads about 2 * log2(number) pages. `is_before` must be true for each page before it. Raises
    EndlessListError.
    """
    low, high = -1, 0
    while await is_before(high):
        if high > _MOST_PAGES:
            raise EndlessListError
        low, high = high, max(1, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if await is_before(middle) else (low, middle)
    return high


def order_of(jobs: Sequence[UpstreamJob]) -> Order | None:
    """How consecutive jobs of a list are sorted; None where their times do not show it."""
    times = [job.created_at for job in jobs]
    known = [time for time in times if time is not None]
    if len(known) < len(times) or len(set(known)) < 2:  # noqa: PLR2004 - two make an order
        return None
    pairs = list(pairwise(known))
    if all(one >= next_ for one, next_ in pairs):
        return "newest"
    return "oldest" if all(one <= next_ for one, next_ in pairs) else None
