from datetime import UTC, datetime, timedelta

from gateway.core.months import PartitionMonth, first_own_month, months_between
from gateway.core.uuid7 import time_of

NOVEMBER = PartitionMonth(2026, 11)


def test_a_month_is_a_range_of_ids() -> None:
    assert time_of(NOVEMBER.first) == NOVEMBER.begins == datetime(2026, 11, 1, tzinfo=UTC)
    assert time_of(PartitionMonth(2026, 12).next.first) == datetime(2027, 1, 1, tzinfo=UTC)
    assert PartitionMonth.of(datetime(2026, 11, 30, 23, 59, tzinfo=UTC)) == NOVEMBER


def test_the_month_of_another_time_zone_is_that_of_utc() -> None:
    ahead = datetime.fromisoformat("2026-12-01T00:30:00+02:00")
    assert PartitionMonth.of(ahead) == NOVEMBER


def test_a_name_leads_back_to_the_month() -> None:
    assert NOVEMBER.name == "2026_11"
    assert PartitionMonth.named("2026_11") == NOVEMBER
    assert [PartitionMonth.named(name) for name in ("old", "default", "2026_13", "2026_", "")] == [
        None
    ] * 5


def test_the_first_own_month_leaves_time_before_it() -> None:
    week = timedelta(days=7)
    assert first_own_month(datetime(2026, 11, 23, tzinfo=UTC), week) == PartitionMonth(2026, 12)
    assert first_own_month(datetime(2026, 11, 24, tzinfo=UTC), week) == PartitionMonth(2027, 1)


def test_months_go_on_after_the_last_one() -> None:
    assert months_between(NOVEMBER, NOVEMBER, 2) == [
        PartitionMonth(2026, 12),
        PartitionMonth(2027, 1),
    ]
    assert months_between(PartitionMonth(2027, 1), NOVEMBER, 2) == []
    assert months_between(PartitionMonth(2026, 9), NOVEMBER, 0) == [
        PartitionMonth(2026, 10),
        NOVEMBER,
    ]
