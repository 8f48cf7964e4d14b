"""Bars of the chart by day, how sizes are worded, and how acts are told."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.console.screens.acts import acts_of
from gateway.console.screens.operations.day_bars import HEIGHT, WIDTH, day_bars
from gateway.console.screens.operations.usage import days_so_far, month_of
from gateway.console.show.words import size
from gateway.store.tenancy.audit import AuditEntry

DAY = datetime(2026, 11, 1, tzinfo=UTC)


def test_the_highest_day_fills_the_chart_and_one_failure_can_be_seen() -> None:
    days = [(DAY, 999_999, 1), (DAY + timedelta(days=1), 0, 0), (DAY + timedelta(days=2), 1, 0)]
    full, empty, small = day_bars(days, 30)
    assert 0 <= full.bad_y <= 2
    assert full.bad_height >= 2
    assert (empty.good_height, empty.bad_height) == (0, 0)
    assert small.good_height >= 2
    assert small.good_y == HEIGHT - small.good_height
    assert full.x + full.width <= empty.x
    assert small.x + small.width <= WIDTH


def test_no_days_make_no_bars() -> None:
    assert day_bars([], 0) == []


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (12_345_678, "12.3 MB"),
        (2**50, "1125.9 TB"),
    ],
)
def test_sizes_are_worded(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("text", "until"),
    [("2026-12", (2027, 1)), ("2024-02", (2024, 3)), ("", (2026, 12))],
)
def test_a_month_ends_where_the_next_begins(text: str, until: tuple[int, int]) -> None:
    month = month_of(text, datetime(2026, 11, 30, 23, 59, tzinfo=UTC))
    assert (month.until.year, month.until.month, month.until.day) == (*until, 1)


def test_an_act_tells_from_and_to() -> None:
    detail = '{"changes": {"limits.maxQueued": {"from": null, "to": 6}}, "reason": "late"}'
    entry = AuditEntry(UUID(int=1), DAY, "cli", None, "tenant.changed", "acme", "acme", detail)
    (act,) = acts_of([entry])
    assert (act.who, act.words, act.reason) == ("the command line", "changed the tenant", "late")
    assert act.changes == [("limits.maxQueued", "default", "6")]


@pytest.mark.parametrize(
    ("month", "now", "days"),
    [
        ("2026-12", datetime(2026, 12, 1, 0, 0, 1, tzinfo=UTC), 1),
        ("2026-12", datetime(2026, 12, 1, 23, 59, tzinfo=UTC), 1),
        ("2026-12", datetime(2026, 12, 31, 23, 59, tzinfo=UTC), 31),
        ("2026-11", datetime(2026, 12, 1, tzinfo=UTC), 30),
        ("2027-02", datetime(2026, 12, 1, tzinfo=UTC), 0),
    ],
)
def test_a_month_is_drawn_up_to_today(month: str, now: datetime, days: int) -> None:
    assert len(days_so_far(month_of(month, now), now)) == days
