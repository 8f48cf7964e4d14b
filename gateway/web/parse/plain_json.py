"""Parses callers' JSON into plain values, and refuses numbers that a double cannot hold."""

import math
from typing import Any, cast

import msgspec

_INFINITE = frozenset({math.inf, -math.inf})


def decode(raw: bytes) -> Any:  # noqa: ANN401 - any value can be given
    """Decode a JSON text; raises msgspec's errors, also for a number that a double cannot hold."""
    return _any.decode(raw)


def decode_object(raw: bytes) -> dict[str, Any]:
    """Decode a JSON text that must be an object; raises msgspec's errors."""
    value = decode(raw)
    if not isinstance(value, dict):
        raise msgspec.ValidationError("Expected `object`")
    return cast("dict[str, Any]", value)


def _number(text: str) -> float:
    """Read a float; msgspec itself takes up to 16 µs for one with a three-digit exponent."""
    number = float(text)
    if number in _INFINITE:
        raise msgspec.ValidationError("Number out of range")
    return number


_any = msgspec.json.Decoder(Any, float_hook=_number)
