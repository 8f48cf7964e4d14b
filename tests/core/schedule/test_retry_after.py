"""Retry-After: whole seconds, fractions and dates are read; all else leaves the caller's back-off."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.schedule.retry_after import MAX_RETRY_AFTER, parse_retry_after

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("007", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("0.0", 0.0),
        ("86400", 86_400.0),
        ("86401", MAX_RETRY_AFTER),
        ("9" * 400, MAX_RETRY_AFTER),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Friday, 02-Jan-26 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 04:05:05 +0100", 60.0),
        ("Fri, 02 Jan 2026 03:05:05 -0000", 60.0),
        ("Fri Jan  2 03:05:05 2026", 60.0),
        ("Fri, 02 Jan 2099 03:05:05 GMT", MAX_RETRY_AFTER),
    ],
)
def test_seconds_and_dates_are_read_up_to_a_day(value: str, seconds: float) -> None:
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        "-1",
        "1e3",
        "1.",
        ".5",
        "1.5.2",
        "5, 7",
        "nan",
        "inf",
        "\u0661",
        "²",
        "Fri, 02 Jan 2026 03:04:05 GMT",
        "Fri, 02 Jan 2025 03:04:05 GMT",
        "Sun, 06 Nov 1994 08:49:37 -0000",
        "Fri, 99 Jan 2026 03:05:05 GMT",
        "Fri, 02 Jan 2026 03:05:05 +9999",
        "Fri, 02 Jan 99999999999999999999 03:05:05 GMT",
        "Fri, 02 Jan 2026 03:05:05 +99999999999999999999",
    ],
)
def test_malformed_values_and_past_dates_count_as_none(value: str | None) -> None:
    assert parse_retry_after(value, NOW) is None


@given(st.integers(1, int(MAX_RETRY_AFTER)))
def test_a_date_is_read_as_it_was_written(seconds: int) -> None:
    value = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after(value, NOW) == seconds


@given(st.text() | st.text("0123456789. :+-,GMTJanFri"))
def test_every_text_is_within_the_range_or_none(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER
