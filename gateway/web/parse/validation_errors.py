"""Validation errors: one refusal that names every wrong field, and how values are shown in it."""

from collections.abc import Iterable
from itertools import islice

from gateway.core.text.printable import printable
from gateway.errors import BadRequest, FieldError

# A body with thousands of faults gets a part of them named.
_MOST_FAULTS = 100
_MOST_SAID = 20
_MOST_COUNTED = 10_000
_LONGEST = 200
_LONGEST_VALUE = 40


def refusal(faults: Iterable[FieldError]) -> BadRequest:
    """One error for all faults: up to 100 of them one by one, the rest as a number."""
    rest = iter(faults)
    shown = [FieldError(_cut(one.field), _cut(one.reason)) for one in islice(rest, _MOST_FAULTS)]
    more = sum(1 for _ in islice(rest, _MOST_COUNTED))
    said = [f"{one.field}: {one.reason}" if one.field else one.reason for one in shown]
    unsaid = len(said[_MOST_SAID:]) + more
    detail = "; ".join(said[:_MOST_SAID])
    if unsaid:
        detail += f"; and {unsaid if more < _MOST_COUNTED else f'more than {unsaid}'} more"
    return BadRequest(detail, errors=[one for one in shown if one.field])


def shown(value: object) -> str:
    """A value that a caller sent, short and without control characters."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f"'{_short(value)}'"
        case int() | float():
            return _short(repr(value))
        case list():
            return "a list"
        case _:
            return "an object"


def kind_of(value: object) -> str:
    """The JSON type of a value; for fields whose values may be secret."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def _short(text: str) -> str:
    more = "..." if len(text) > _LONGEST_VALUE else ""
    return printable(text[:_LONGEST_VALUE]) + more


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
