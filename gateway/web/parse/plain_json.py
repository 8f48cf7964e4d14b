"""JSON of callers as values, whatever numbers are in it.

msgspec takes up to 16 microseconds for a number with an exponent of three digits, which is seconds for
a body full of them; such a text is read by Python's own parser.
"""

import gc
import json
import re
from typing import Any, cast

import msgspec

_SLOW = re.compile(rb"[\d.][eE][+-]?\d{3}")
_LARGE = 64 * 1024
_any = msgspec.json.Decoder[Any]()


def decode(raw: bytes) -> Any:  # noqa: ANN401 - any value can be given
    """The value of a text; raises what msgspec raises."""
    if len(raw) < _LARGE or not gc.isenabled():
        return _decoded(raw)
    # Each hundred thousand lists that are made have all of them looked through for cycles, five times.
    gc.disable()
    try:
        return _decoded(raw)
    finally:
        gc.enable()


def _decoded(raw: bytes) -> Any:  # noqa: ANN401 - as above
    if not _SLOW.search(raw):
        return _any.decode(raw)
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse)
    except json.JSONDecodeError as malformed:
        raise msgspec.DecodeError(f"JSON is malformed: {malformed}") from None
    except UnicodeDecodeError:
        raise
    except ValueError:  # a whole number of thousands of digits
        raise msgspec.ValidationError("Integer value out of range") from None
    _check(value)
    return value


def decode_object(raw: bytes) -> dict[str, Any]:
    """The same for an object."""
    value = decode(raw)
    if not isinstance(value, dict):
        raise msgspec.ValidationError("Expected `object`")
    return cast("dict[str, Any]", value)


def _refuse(name: str) -> object:
    raise msgspec.DecodeError(f"JSON is malformed: {name} is no number")


def _check(value: object) -> None:
    """Refuse what Python's parser lets pass: numbers beyond doubles, and halves of surrogate pairs."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise msgspec.DecodeError("JSON is malformed: half a surrogate pair") from None
    except ValueError:
        raise msgspec.ValidationError("Number out of range") from None
