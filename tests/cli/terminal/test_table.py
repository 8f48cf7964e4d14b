"""Tables that fit: what is cut, what is left out, and what stays."""

import pytest
from rich.cells import cell_len

from gateway.cli.terminal.table import Column, aligned, width_of_output

COLUMNS = (
    Column("id"),
    Column("name", least=6, rank=1),
    Column("note", least=8, rank=2),
    Column("at", rank=3),
)
ROWS = [
    ["ID", "NAME", "NOTE", "AT"],
    ["0190e3a0", "a name of some length", "no file at this address", "2026-11-30"],
    ["0190e3a1", "b", "-", "2026-11-29"],
]


def test_all_of_it_where_there_is_room_or_no_terminal() -> None:
    wide = [
        "ID        NAME                   NOTE                     AT",
        "0190e3a0  a name of some length  no file at this address  2026-11-30",
        "0190e3a1  b                      -                        2026-11-29",
    ]
    assert aligned(ROWS, COLUMNS, None) == wide
    assert aligned(ROWS, COLUMNS, 68) == wide


def test_the_widest_is_cut_first() -> None:
    assert aligned(ROWS, COLUMNS, 50)[1] == "0190e3a0  a name of so…  no file at t…  2026-11-30"


def test_the_least_important_is_left_out() -> None:
    assert aligned(ROWS, COLUMNS, 36) == [
        "ID        NAME          NOTE",
        "0190e3a0  a name of s…  no file at …",
        "0190e3a1  b             -",
    ]
    assert aligned(ROWS, COLUMNS, 18)[1] == "0190e3a0  a name …"
    assert aligned(ROWS, COLUMNS, 3)[1] == "0190e3a0", "what has rank 0 is never cut"


def test_empty_columns_are_left_out_first() -> None:
    rows = [ROWS[0], ["0190e3a0", "-", "a note", "2026-11-30"]]
    assert aligned(rows, COLUMNS, 30)[0].split() == ["ID", "NOTE", "AT"]
    assert aligned(rows, COLUMNS, 80)[0].split() == ["ID", "NAME", "NOTE", "AT"]


@pytest.mark.parametrize("width", range(8, 80))
def test_no_line_is_wider(width: int) -> None:
    rows = [*ROWS, ["日本語日本", "音楽音楽音楽音楽", "🎵🎵🎵🎵🎵🎵", "é"]]
    assert max(map(cell_len, aligned(rows, COLUMNS, width))) <= max(width, 10)


def test_the_width_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "61")
    assert width_of_output() == 61
    for nonsense in ("", "0", "wide", "-3"):
        monkeypatch.setenv("COLUMNS", nonsense)
        assert width_of_output() is None  # nothing of pytest's output is a terminal


FOLDING = (Column("at"), Column("type", rank=1), Column("text", least=12, folds=True))
STORY = [
    ["AT", "TYPE", "TEXT"],
    ["09:42", "failed", "The job failed: Workflow 'nope/nope' not found. (BAD_INPUT)"],
    ["09:43", "webhook", "Sent."],
]


def test_a_sentence_goes_on_in_the_next_line() -> None:
    assert aligned(STORY, FOLDING, 40) == [
        "AT     TYPE     TEXT",
        "09:42  failed   The job failed: Workflow",
        "                'nope/nope' not found.",
        "                (BAD_INPUT)",
        "09:43  webhook  Sent.",
    ]
    assert aligned(STORY, FOLDING, None)[1].endswith("not found. (BAD_INPUT)")


@pytest.mark.parametrize("width", range(20, 60))
def test_folded_lines_fit_and_lose_nothing(width: int) -> None:
    rows = [
        *STORY,
        ["09:44", "x", "a-word-that-is-longer-than-any-column-is-wide 日本語日本語日本語"],
    ]
    lines = aligned(rows, FOLDING, width)
    assert max(map(cell_len, lines)) <= width
    told = "".join(lines).replace(" ", "")
    for row in rows:
        assert all(word in told for word in (row[0], row[2].split(" ")[0][:4]))
    assert "a-word-that-is-longer-than-any-column-is-wide" in told
