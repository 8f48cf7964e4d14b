"""Charts as shapes for inline SVG: where each bar begins, and how high it is. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

WIDTH, HEIGHT = 1000, 160
_GAP = 0.2
_LEAST = 2.0


class DayBar(NamedTuple):
    """A bar of two parts: what ended well stands below what failed."""

    day: datetime
    good: int
    bad: int
    x: float
    width: float
    good_height: float
    bad_height: float

    @property
    def bad_y(self) -> float:
        """The top of the whole bar."""
        return HEIGHT - self.good_height - self.bad_height

    @property
    def good_y(self) -> float:
        """The top of the lower part."""
        return HEIGHT - self.good_height


def day_bars(days: Sequence[tuple[datetime, int, int]], places: int) -> list[DayBar]:
    """A bar for each day with its numbers; the axis has so many places. What is not zero can be seen."""
    most = max((good + bad for _, good, bad in days), default=0)
    step = WIDTH / max(places, 1)

    def height(number: int) -> float:
        return round(max(_LEAST, (HEIGHT - _LEAST) * number / most), 1) if number else 0.0

    return [
        DayBar(
            day,
            good,
            bad,
            round(place * step + step * _GAP / 2, 1),
            round(step * (1 - _GAP), 1),
            height(good),
            height(bad),
        )
        for place, (day, good, bad) in enumerate(days)
    ]
