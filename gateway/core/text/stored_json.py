"""The size and limits of JSON once Postgres has stored it as jsonb.

jsonb writes numbers without an exponent, so `1e300` becomes 301 digits; callers later get that form.
"""

import json
import re
import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, cast

# Numbers grow only in texts that match this. It begins with a set of characters, which is fast to find.
_GROWS = re.compile(r"[0-9](?:[eE][+-]?[0-9]|[0-9]{299})")
# Spaces after colons and commas make a text at most half as long again.
_SPACED = 1.5
_BEYOND = object()
_LARGEST = Decimal(sys.float_info.max)
# Shorter numbers without an exponent are all doubles.
_PLAIN = 300


def is_surely_short(text: str, enough: int) -> bool:
    """Whether the text has no large number and fewer than `enough` bytes as jsonb, as most texts do."""
    return len(text) * _SPACED < enough and text.isascii() and not _GROWS.search(text)


def stored_bytes(text: str) -> int:
    """The bytes of a JSON text as jsonb. The caller has checked its numbers with `misfit`."""
    grown = 0

    def counted(token: str) -> int:
        nonlocal grown
        grown += (_length(token) or 1) - 1
        return 0

    return len(json.dumps(_load(text, counted), ensure_ascii=False).encode()) + grown


def misfit(text: str) -> str | None:
    """The path of the first number that no IEEE 754 double can hold, such as `.a[0]`; None if none."""
    if not _GROWS.search(text):
        return None
    return _misfit(_load(text, lambda token: 0 if _length(token) else _BEYOND), "")


def _load(text: str, number: Callable[[str], object]) -> object:
    return json.loads(text, parse_float=number, parse_int=number)


def _length(token: str) -> int | None:
    """The length of a number without an exponent; None where no IEEE 754 double can hold it."""
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
