"""JSON passes through commands with its numbers as they are written."""

import json
import math
from typing import Any

import pytest

from gateway.cli.terminal.exact_json import ExactNumber, dumps, loads

NUMBERS = (
    *("0", "-0", "-0.0", "1", "1.0", "1.50", "1E5", "1e-7", "1e400", "-1e400", "2.5e+3"),
    *("12345678901234567890.123", "12345678901234567890", "0.1000000000000000055", "9" * 5000),
)


@pytest.mark.parametrize("text", NUMBERS, ids=lambda text: text[:30])
def test_a_number_keeps_its_text(text: str) -> None:
    for document in (text, f'{{"a": {text}}}', f"[[{text}, {text}]]"):
        assert dumps(loads(document)) == document


def test_it_is_still_a_number() -> None:
    number = loads("2.50")
    assert isinstance(number, ExactNumber)
    assert (number + 1, round(number, 0), str(number)) == (3.5, 2.0, "2.50")
    assert math.isinf(loads("1e400"))
    assert type(loads("7")) is int


VALUES: tuple[Any, ...] = (
    {},
    [],
    {"a": {}, "b": [], "c": [1, [2, {"d": None}]], "é": '"\\\n\x00\x7f\u2028'},
    [True, False, None, 1.5, -3, "text", "\ud800", "😀", (1, 2)],
    {"nested": {"deeper": {"deepest": [{"a": 1}, {"b": 2}]}}},
    "text",
    None,
)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_else_it_writes_what_json_writes(
    value: Any, indent: int | None, ensure_ascii: bool
) -> None:
    wanted = json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)
    assert dumps(value, indent, ensure_ascii=ensure_ascii) == wanted


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[1", "{1: 2}", "01"])
def test_invalid_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(text)
