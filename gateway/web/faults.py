"""What is wrong with a request, field by field, in words that name the field."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from gateway.errors import BadRequest, FieldError

_PATH = re.compile(r"(.*?)(?: - at `(?:key in )?\$(.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_ENUM = "Invalid enum value"
# Who sends nonsense by the thousand is told of a part of it.
MOST_FAULTS = 20
_LONGEST = 200


def refusal(faults: Sequence[FieldError]) -> BadRequest:
    """One error for all faults, up to 20 of them."""
    shown = [FieldError(_cut(one.field), _cut(one.reason)) for one in faults[:MOST_FAULTS]]
    said = [f"{one.field}: {one.reason}" if one.field else one.reason for one in shown]
    return BadRequest("; ".join(said), errors=[one for one in shown if one.field])


def fault(message: str, field: str = "", kind: Any = None) -> FieldError:  # noqa: ANN401
    """What msgspec says is wrong within a field of a type, in our words."""
    match = _PATH.fullmatch(message)
    reason, path = (match[1], match[2] or "") if match else (message, "")
    place = (field + path).lstrip(".")
    for pattern, said in ((_UNKNOWN, "is not known"), (_MISSING, "is required")):
        named = pattern.fullmatch(reason)
        if named is not None:
            return FieldError(f"{place}.{named[1]}".lstrip("."), said)
    words = ", ".join(_words(kind))
    if reason.startswith(_ENUM) and words:
        reason += f"; must be one of {words}"
    return FieldError(place, reason[0].lower() + reason[1:])


def unknown(name: str, known: Iterable[str]) -> FieldError:
    """A field that nobody reads."""
    names = ", ".join(sorted(known))
    return FieldError(name, f"is not known; known are {names}" if names else "is not known here")


def _words(kind: Any) -> Iterator[str]:  # noqa: ANN401
    """The words of every Literal in a type."""
    for part in get_args(kind):
        if isinstance(part, str):
            yield part
        else:
            yield from _words(part)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
