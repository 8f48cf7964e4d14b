"""Validation errors: one 400 for all wrong fields, and how it shows values."""

from collections.abc import Iterable
from itertools import islice

from gateway.core.text.printable import printable
from gateway.errors import BadRequest, FieldError

# A body may have thousands of faults; only so many are named.
_MOST_FAULTS = 100
_MOST_IN_DETAIL = 20
_MOST_COUNTED = 10_000
_LONGEST = 200
_LONGEST_VALUE = 40


def refusal(faults: Iterable[FieldError]) -> BadRequest:
    """One error for all faults: it names up to 100 and counts the rest."""
    rest = iter(faults)
    shown = [FieldError(_cut(one.field), _cut(one.reason)) for one in islice(rest, _MOST_FAULTS)]
    more = sum(1 for _ in islice(rest, _MOST_COUNTED))
    texts = [f"{one.field}: {one.reason}" if one.field else one.reason for one in shown]
    hidden = len(texts[_MOST_IN_DETAIL:]) + more
    detail = "; ".join(texts[:_MOST_IN_DETAIL])
    if hidden:
        detail += f"; and {hidden if more < _MOST_COUNTED else f'more than {hidden}'} more"
    return BadRequest(detail, errors=[one for one in shown if one.field])


def shown(value: object) -> str:
    """A caller's value for a message, short and without control characters."""
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
