"""Charts: where bars and lines are, and which numbers the axes have."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.console.show.charts import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Series, lines, stacked

_START = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
_FLOOR = HEIGHT - BOTTOM


def starts(count: int, step: timedelta = timedelta(minutes=1)) -> list[datetime]:
    return [_START + place * step for place in range(count)]


def number(value: float) -> str:
    return f"{value:g}"


def test_bars_stand_on_each_other() -> None:
    chart = stacked(starts(2), [Series("a", "good", [3, 0]), Series("b", "bad", [1, 4])], number)
    first, above, other = chart.bars
    assert first.y + first.height == pytest.approx(_FLOOR)
    assert above.y + above.height == pytest.approx(first.y)
    assert (first.look, above.look, other.look) == ("good", "bad", "bad")
    assert other.y == pytest.approx(above.y) == TOP  # both stacks are four high, and so is the axis
    assert first.x == LEFT
    assert other.x + other.width <= WIDTH


@pytest.mark.parametrize(
    ("most", "marks"),
    [
        (0, ["0", "1"]),
        (1, ["0", "1"]),
        (3, ["0", "1", "2", "3"]),
        (7, ["0", "2", "4", "6", "8"]),
        (100, ["0", "50", "100"]),
        (101, ["0", "50", "100", "150"]),
        (12_408, ["0", "5000", "10000", "15000"]),
    ],
)
def test_counts_have_whole_numbers_at_their_axis(most: int, marks: list[str]) -> None:
    chart = stacked(starts(1), [Series("a", "good", [most])], number)
    assert [mark.text for mark in chart.heights] == marks
    assert chart.is_empty is (most == 0)


@pytest.mark.parametrize(
    ("most", "top"), [(0.013, "0.015"), (0.9, "1"), (1.2, "1.5"), (86.0, "100")]
)
def test_durations_have_round_numbers_at_their_axis(most: float, top: str) -> None:
    chart = lines(starts(1), [Series("p50", "runs", [most])], number)
    assert chart.heights[-1].text == top


def test_a_line_breaks_where_nothing_was_measured() -> None:
    chart = lines(starts(5), [Series("p50", "runs", [1.0, 2.0, None, 1.0, None])], number)
    (line,) = chart.lines
    assert line.path.count("M") == 2
    assert line.path.count("L") == 1
    assert line.path.endswith("h3"), "a point alone shows"


def test_no_points_are_an_empty_chart() -> None:
    assert stacked([], [Series("a", "good", [])], number).is_empty
    assert lines([], [Series("a", "good", [])], number).is_empty


def test_a_day_has_hours_and_a_week_has_days_at_its_axis() -> None:
    day = stacked(starts(144, timedelta(minutes=10)), [Series("a", "good", [1] * 144)], number)
    week = stacked(starts(168, timedelta(hours=1)), [Series("a", "good", [1] * 168)], number)
    assert day.times[0].text == "14:00"
    assert [mark.text for mark in week.times][:2] == ["01 Dec", "02 Dec"]
    assert len(day.times) == len(week.times) == 6
