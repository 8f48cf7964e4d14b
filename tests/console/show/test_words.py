"""Times, lengths and texts as pages word them."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.console.show import words

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.4, "now"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (7200, "2 h ago"),
        (172_800, "2 d ago"),
        (-90, "in 1 min"),
    ],
)
def test_a_time_from_now(seconds: float, told: str) -> None:
    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, ""),
        (0.0123, "12 ms"),
        (1.234, "1.23 s"),
        (12.34, "12.3 s"),
        (125, "2 min 5 s"),
        (3_780, "1 h 3 min"),
        (180_000, "2 d 2 h"),
    ],
)
def test_a_length_of_time(seconds: float | None, told: str) -> None:
    assert words.duration(seconds) == told


def test_times_are_whole_for_machines_and_people() -> None:
    assert words.machine(NOW) == "2026-11-30T12:00:00.000Z"
    assert words.absolute(NOW) == "2026-11-30 12:00:00.000 UTC"


def test_ids_are_cut_in_the_middle() -> None:
    assert words.short_id("01a22a58-0000-7000-8000-00000000f179") == "01a22a58\u2026f179"
    assert words.short_id("job-1") == "job-1"


def test_texts_of_tenants_show_what_is_hidden_in_them() -> None:
    assert words.shown("a\u202eb\x1b[31m\n") == r"a\u202eb\x1b[31m\n"
    assert words.shown("x" * 20, 10) == "x" * 10 + "\u2026"
    assert words.shown_lines("a\nb\x00", 10) == "a\nb\\x00"


def test_backticks_mark_code_and_nothing_else() -> None:
    assert words.code("run `gateway <x>` & go") == "run <code>gateway &lt;x&gt;</code> &amp; go"
