"""JSON whose numbers keep their text: a float would turn 1e400 into Infinity, and round long fractions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from typing_extensions import override

_quote = json.JSONEncoder(ensure_ascii=False).encode
_quote_as_ascii = json.JSONEncoder().encode


class ExactNumber(float):
    """A number that is written as it was read."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Keep the text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    @override
    def __repr__(self) -> str:
        return self.text


def loads(text: str | bytes) -> Any:  # noqa: ANN401 - JSON
    """Read JSON; raises ValueError."""
    return json.loads(
        text, parse_float=ExactNumber, parse_int=_integer, parse_constant=_refuse_constant
    )


def dumps(value: object, indent: int | None = None, *, ensure_ascii: bool = False) -> str:
    """Write JSON as `json.dumps` does, but each ExactNumber as its text."""
    return _written(value, indent, "\n", _quote_as_ascii if ensure_ascii else _quote)


def _integer(text: str) -> int | ExactNumber:
    try:
        return ExactNumber(text) if text == "-0" else int(text)
    except ValueError:  # more digits than Python converts
        return ExactNumber(text)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _written(value: object, indent: int | None, line: str, quote: Any) -> str:  # noqa: ANN401
    if isinstance(value, ExactNumber):
        return value.text
    inner = line + " " * (indent or 0)
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value).items()
        items = [f"{quote(name)}: {_written(one, indent, inner, quote)}" for name, one in fields]
        first, last = "{}"
    elif isinstance(value, list | tuple):
        items = [_written(one, indent, inner, quote) for one in cast("Sequence[object]", value)]
        first, last = "[]"
    else:
        return quote(value)
    if indent is None or not items:
        return f"{first}{', '.join(items)}{last}"
    return f"{first}{inner}{f',{inner}'.join(items)}{line}{last}"
