"""What is shown of a text that would drive a terminal."""

import json

import pytest

from gateway.core.text.printable import printable, printable_cells, printable_json, printable_lines

# Each of a kind: C0, DEL, C1, marks of direction, separators, half a surrogate pair.
CONTROLS = [
    ("\0", r"\x00"),
    ("\x1b", r"\x1b"),
    ("\x07", r"\x07"),
    ("\x7f", r"\x7f"),
    ("\x85", r"\x85"),
    ("\x9b", r"\x9b"),
    ("\u061c", r"\u061c"),
    ("\u200f", r"\u200f"),
    ("\u2028", r"\u2028"),
    ("\u2029", r"\u2029"),
    ("\u202a", r"\u202a"),
    ("\u202e", r"\u202e"),
    ("\u2066", r"\u2066"),
    ("\u2069", r"\u2069"),
    ("\ud800", r"\ud800"),
    ("\udfff", r"\udfff"),
]
PLAIN = "Müller ☃ 日本　語 a\u00a0b 👩\u200d👧 [red] \\x1b"


@pytest.mark.parametrize(("raw", "shown"), CONTROLS)
def test_a_control_character_is_shown(raw: str, shown: str) -> None:
    text = f"a{raw}b"
    assert printable(text) == printable_lines(text) == printable_cells(text) == f"a{shown}b"


@pytest.mark.parametrize(("raw", "shown"), CONTROLS)
def test_json_keeps_its_value(raw: str, shown: str) -> None:
    text = json.dumps({raw: [raw]}, ensure_ascii=False)
    told = printable_json(text)
    assert raw not in told
    assert json.loads(told) == {raw: [raw]}
    assert shown


@pytest.mark.parametrize("form", [printable, printable_lines, printable_cells, printable_json])
def test_other_texts_stay(form) -> None:
    assert form(PLAIN) == PLAIN


def test_line_breaks_are_for_those_who_write_lines() -> None:
    assert printable("a\r\n\tb") == r"a\r\n\tb"
    assert printable_lines("a\r\n\tb") == "a\\r\n\\tb"
    assert printable_cells("a\r\n\tb\x0c") == "a\r\n\tb\\x0c"
    assert printable_cells("a\r\n\tb") == "a\r\n\tb"
    assert printable_json('{\n\t"a":\r1}') == '{\n\t"a":\r1}'
