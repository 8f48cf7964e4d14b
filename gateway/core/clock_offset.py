"""Estimate how far the upstream's clock is ahead of ours, from jobs that both have dated."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

# The offset is unknown with fewer jobs than this.
ENOUGH = 10
# Clocks are adjusted, and the upstream may have several.
_MARGIN = timedelta(seconds=5)
_ANYTHING = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Offset:
    """The least and the most that the upstream's clock is ahead; negative where it is behind."""

    least: timedelta
    most: timedelta


def offset_of(
    spans: Sequence[tuple[timedelta, timedelta]], *, skew: timedelta, lateness: timedelta
) -> Offset:
    """The offset by jobs, each with the least and the most that it allows.

    A job is made between the moment it was sent and the moment its answer was recorded, so it bounds
    the offset on both sides. With one clock all bounds agree; where they do not, the offset lies
    between the bounds that contradict each other most. Without enough jobs the clock may be ahead by
    anything, and behind by `skew` and by `lateness`: by so much the newest job seems to be old.
    """
    if len(spans) < ENOUGH:
        return Offset(-skew - lateness, _ANYTHING)
    bounds = max(least for least, _ in spans), min(most for _, most in spans)
    return Offset(min(bounds) - _MARGIN, max(bounds) + _MARGIN)
