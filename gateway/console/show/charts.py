"""Charts as inline SVG: geometry only. The page has a table of the same numbers beside each. Pure."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

# The size of a chart in its own units, and the room for the marks at its left and bottom.
WIDTH, HEIGHT = 560, 150
LEFT, BOTTOM, TOP = 56, 18, 8
_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - LEFT, HEIGHT - BOTTOM - TOP
_MARKS = 4  # of the vertical axis, at most
_TIMES = 6  # of the horizontal axis, at most
_STEPS = (1, 2, 5)


class Bar(NamedTuple):
    """A part of a stack of bars."""

    x: float
    y: float
    width: float
    height: float
    look: str


class Line(NamedTuple):
    """A line that is broken where there is no number; `path` is SVG's."""

    name: str
    look: str
    path: str


class Mark(NamedTuple):
    """A mark of an axis: its place along it, and its text."""

    place: float
    text: str


class Series(NamedTuple):
    """A name, a look, and a number for each point; None where there is none."""

    name: str
    look: str
    numbers: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: bars or lines, and the marks of its axes."""

    bars: Sequence[Bar]
    lines: Sequence[Line]
    heights: Sequence[Mark]
    times: Sequence[Mark]
    is_empty: bool


def stacked(
    starts: Sequence[datetime], series: Sequence[Series], word: Callable[[float], str]
) -> Chart:
    """Bars, one stack for each point; `word` writes a number of the vertical axis."""
    sums = [sum(one.numbers[place] or 0 for one in series) for place in range(len(starts))]
    top, heights = _axis(max(sums, default=0), word, least=1)
    bars = list(_bars(series, len(starts), top))
    return Chart(bars, [], heights, _times(starts), is_empty=not any(sums))


def lines(
    starts: Sequence[datetime], series: Sequence[Series], word: Callable[[float], str]
) -> Chart:
    """A line for each series."""
    known = [number for one in series for number in one.numbers if number is not None]
    top, heights = _axis(max(known, default=0), word)
    drawn = [Line(one.name, one.look, _path(one.numbers, top)) for one in series]
    return Chart([], drawn, heights, _times(starts), is_empty=not known)


def _bars(series: Sequence[Series], points: int, top: float) -> Iterator[Bar]:
    step = _PLOT_WIDTH / max(points, 1)
    for place in range(points):
        base = float(TOP + _PLOT_HEIGHT)
        for one in series:
            height = _PLOT_HEIGHT * (one.numbers[place] or 0) / top
            if height:
                base -= height
                x, width = LEFT + place * step, max(step - 1, 1.0)
                yield Bar(round(x, 1), round(base, 1), round(width, 1), round(height, 1), one.look)


def _path(numbers: Sequence[float | None], top: float) -> str:
    step, parts, pen = _PLOT_WIDTH / max(len(numbers), 1), list[str](), "M"
    for place, number in enumerate(numbers):
        if number is None:
            pen = "M"
            continue
        x = LEFT + (place + 0.5) * step
        y = TOP + _PLOT_HEIGHT * (1 - number / top)
        # A point without a neighbour is a short line, so that it shows.
        is_alone = pen == "M" and (place + 1 == len(numbers) or numbers[place + 1] is None)
        parts.append(f"{pen}{x:.1f} {y:.1f}" + ("h3" if is_alone else ""))
        pen = "L"
    return "".join(parts)


def _axis(
    most: float, word: Callable[[float], str], *, least: float = 0.0
) -> tuple[float, list[Mark]]:
    """The top of the vertical axis, and its marks at round numbers."""
    step = max(_round_step((most or 1.0) / _MARKS), least)
    count = max(math.ceil((most or 1.0) / step - 1e-9), 1)
    top = step * count
    places = ((TOP + _PLOT_HEIGHT * (1 - one / count), one * step) for one in range(count + 1))
    return top, [Mark(round(place, 1), word(number)) for place, number in places]


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20 ... and their tenths that is not less."""
    size = 10.0 ** math.floor(math.log10(least))
    return next((size * one for one in _STEPS if size * one >= least * (1 - 1e-9)), size * 10)


def _times(starts: Sequence[datetime]) -> list[Mark]:
    if not starts:
        return []
    step = _PLOT_WIDTH / len(starts)
    every = math.ceil(len(starts) / _TIMES)
    is_long = (starts[-1] - starts[0]).days > 1
    form = "%d %b" if is_long else "%H:%M"
    places = range(every // 2, len(starts), every)
    return [Mark(round(LEFT + (one + 0.5) * step, 1), starts[one].strftime(form)) for one in places]
