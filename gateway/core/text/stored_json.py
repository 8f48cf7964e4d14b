"""How JSON looks once Postgres has stored it as jsonb, which is what callers are sent later.

Numbers are written out without an exponent there: `1e300` becomes 301 digits.
"""

import json
import re
import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, cast

# Texts without one of these have numbers that stay as long as they came.
_GROWS = re.compile(r"\d[eE][+-]?\d|\d{300}")
# Spaces behind colons and commas make a text half as long again, at most.
_SPACED = 1.5
_BEYOND = object()
_LARGEST = Decimal(sys.float_info.max)
# Shorter numbers without an exponent are all doubles.
_PLAIN = 300


def stored_bytes(text: str, enough: int) -> int:
    """How many bytes a JSON text comes to; not exact where that is surely below `enough`.

    `misfit` has found all of its numbers good.
    """
    if len(text) * _SPACED < enough and text.isascii() and not _GROWS.search(text):
        return len(text)
    grown = 0

    def counted(token: str) -> int:
        nonlocal grown
        grown += (_length(token) or 1) - 1
        return 0

    return len(json.dumps(_load(text, counted), ensure_ascii=False).encode()) + grown


def misfit(text: str) -> str | None:
    """The place of the first number larger than IEEE 754 doubles hold, such as `.a[0]`."""
    if not _GROWS.search(text):
        return None
    return _misfit(_load(text, lambda token: 0 if _length(token) else _BEYOND), "")


def _load(text: str, number: Callable[[str], object]) -> object:
    return json.loads(text, parse_float=number, parse_int=number)


def _length(token: str) -> int | None:
    """How long a number is once it is written out; None for one that no double holds."""
    if len(token) < _PLAIN and "e" not in token and "E" not in token:
        return len(token)
    try:
        number = Decimal(token)
    except InvalidOperation:
        return None
    sign, digits, exponent = number.as_tuple()
    if abs(number) > _LARGEST or not isinstance(exponent, int):
        return None
    fraction = max(-exponent, 0)
    return sign + max(len(digits) + exponent, 1) + (fraction and fraction + 1)


def _misfit(value: object, path: str) -> str | None:
    if value is _BEYOND:
        return path
    parts: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        parts = [(f".{key}", one) for key, one in cast("dict[str, Any]", value).items()]
    elif isinstance(value, list):
        parts = [(f"[{place}]", one) for place, one in enumerate(cast("list[Any]", value))]
    return next((found for step, one in parts if (found := _misfit(one, path + step))), None)
