"""Explains why a value does not match its type: every fault with its place, in plain English.

msgspec stops at the first fault and speaks of Python types, so this checks a refused value again.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any, cast
from uuid import UUID

from msgspec import ValidationError, convert, inspect

from gateway.errors import FieldError
from gateway.web.parse.validation_errors import kind_of, shown
from gateway.web.schemas.timestamps import TIME_WORDS, read_instant

Faults = Iterator[FieldError]

_MOST_SUGGESTIONS = 20
_LONGEST_NAME = 64
# Of objects whose keys the caller chooses, only so many are checked. More are refused anyway.
_MOST_KEYS = 100


class Check:
    """Finds the faults of one request, and suggests names for at most 20 unknown ones."""

    def __init__(self) -> None:
        self._suggestions = _MOST_SUGGESTIONS

    def faults(self, kind: Any, value: object, place: str = "") -> Faults:  # noqa: ANN401
        """All faults of a value by a type that msgspec knows."""
        yield from self._of(_described(kind), value, place)

    def unknown(self, name: str, known: Iterable[str], place: str = "") -> FieldError:
        """The fault of an unknown name, with the nearest known one."""
        path = f"{place}.{name}".lstrip(".")
        if not self._suggestions:
            return FieldError(path, "is not known")
        self._suggestions -= 1
        names = sorted(known)
        if not names:
            return FieldError(path, "is not known here")
        near = _nearest(name, names)
        hint = f"did you mean '{near}'?" if near else f"known are {', '.join(names)}"
        return FieldError(path, f"is not known; {hint}")

    def _of(self, info: inspect.Type, value: object, place: str) -> Faults:
        if isinstance(info, inspect.Metadata):
            yield from self._annotated(info, value, place)
        elif isinstance(info, inspect.UnionType):
            yield from self._one_of(info, value, place)
        elif isinstance(info, inspect.StructType):
            yield from self._struct(info, value, place)
        elif isinstance(info, inspect.ListType | inspect.VarTupleType):
            yield from self._list(info, value, place)
        elif isinstance(info, inspect.DictType):
            yield from self._dict(info, value, place)
        elif (check := _CHECKS.get(type(info))) is not None:
            reason = check(info, value)
            if reason is not None:
                yield FieldError(place, reason)

    def _annotated(self, info: inspect.Metadata, value: object, place: str) -> Faults:
        extra = cast("dict[str, str]", info.extra or {})  # pyright: ignore[reportUnknownMemberType]
        if "holds" in extra:
            if not isinstance(value, dict) and not (value is None and "null" in extra["holds"]):
                yield FieldError(place, f"must be an object, not {kind_of(value)}")
            return
        for fault in self._of(info.type, value, place):
            is_pattern = fault.reason == _PATTERN
            yield FieldError(place, extra["reason"]) if is_pattern and "reason" in extra else fault

    def _one_of(self, info: inspect.UnionType, value: object, place: str) -> Faults:
        options = [one for one in info.types if not isinstance(one, inspect.NoneType)]
        if value is None and len(options) < len(info.types):
            return
        found = [list(self._of(one, value, place)) for one in options]
        if len(found) == 1:
            yield from found[0]
        elif found and [] not in found:
            reasons = [fault.reason.partition(", not ")[0] for (fault, *_) in found]
            words = " or ".join(dict.fromkeys(reasons)).replace(" or must be ", " or ")
            yield FieldError(place, f"{words}, not {shown(value)}")

    def _struct(self, info: inspect.StructType, value: object, place: str) -> Faults:
        if not isinstance(value, dict):
            yield FieldError(place, f"must be an object, not {kind_of(value)}")
            return
        given = cast("dict[str, object]", value)
        fields = {field.encode_name: field for field in info.fields}
        elsewhere: Mapping[str, str] = getattr(info.cls, "elsewhere", {})
        for name in given:
            if name in elsewhere:
                yield FieldError(f"{place}.{name}".lstrip("."), elsewhere[name])
            elif name not in fields:
                yield self.unknown(name, fields, place)
        for name, field in fields.items():
            path = f"{place}.{name}".lstrip(".")
            if name in given:
                yield from self._of(field.type, given[name], path)
            elif field.required:
                yield FieldError(path, "is required")

    def _list(
        self, info: inspect.ListType | inspect.VarTupleType, value: object, place: str
    ) -> Faults:
        if not isinstance(value, list):
            yield FieldError(place, f"must be a list, not {kind_of(value)}")
            return
        given = cast("list[object]", value)
        reason = _length(info.min_length, info.max_length, len(given), "entries")
        if reason is not None:
            yield FieldError(place, reason)
        for number, one in enumerate(given[: info.max_length]):
            yield from self._of(info.item_type, one, f"{place}[{number}]")

    def _dict(self, info: inspect.DictType, value: object, place: str) -> Faults:
        if not isinstance(value, dict):
            yield FieldError(place, f"must be an object, not {kind_of(value)}")
            return
        given = cast("dict[str, object]", value)
        reason = _length(info.min_length, info.max_length, len(given), "keys")
        if reason is not None:
            yield FieldError(place, reason)
            return
        for key, one in islice(given.items(), _MOST_KEYS):
            for fault in self._of(info.key_type, key, place):
                yield FieldError(place, f"has a key that {fault.reason}")
            yield from self._of(info.value_type, one, f"{place}.{key[:_LONGEST_NAME]}")


@cache
def _described(kind: Any) -> inspect.Type:  # noqa: ANN401
    return inspect.type_info(kind)


def _nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name that the caller probably meant, if any; case is ignored."""
    by_letters = {one.lower(): one for one in names}
    near = get_close_matches(name[:_LONGEST_NAME].lower(), by_letters, n=1, cutoff=0.7)
    return by_letters[near[0]] if near else None


def _length(least: int | None, most: int | None, size: int, unit: str) -> str | None:
    if least and not size:
        return "must not be empty"
    if least and size < least:
        return f"must have at least {least} {unit}; it has {size}"
    if most is not None and size > most:
        return f"must have at most {most} {unit}; it has {size}"
    return None


_PATTERN = "has characters that are not allowed"


def _text(info: Any, value: object) -> str | None:  # noqa: ANN401
    if not isinstance(value, str):
        return f"must be text, not {kind_of(value)}"
    reason = _length(info.min_length, info.max_length, len(value), "characters")
    if reason is None and info.pattern and not re.search(info.pattern, value):
        reason = _PATTERN
    return reason


def _integer(info: Any, value: object) -> str | None:  # noqa: ANN401
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not is_whole:
        return f"must be a whole number, not {shown(value)}"
    return _bounds(info, value)


def _number(info: Any, value: object) -> str | None:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number, not {shown(value)}"
    return _bounds(info, value)


def _bounds(info: Any, value: Any) -> str | None:  # noqa: ANN401
    for words, bound, holds in (
        ("at least", info.ge, operator.ge),
        ("more than", info.gt, operator.gt),
        ("at most", info.le, operator.le),
        ("less than", info.lt, operator.lt),
    ):
        if bound is not None and not holds(value, bound):
            return f"must be {words} {Decimal(str(bound)).normalize():f}, not {shown(value)}"
    return None


def _truth(_info: object, value: object) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false, not {shown(value)}"


def _id(_info: object, value: object) -> str | None:
    if isinstance(value, str):
        try:
            UUID(value)
        except ValueError:
            pass
        else:
            return None
    return f"must be an id such as 0193782e-7c00-7000-8000-000000000000, not {shown(value)}"


def _duration(_info: object, value: object) -> str | None:
    try:
        convert(value, timedelta)
    except ValidationError:
        return f"must be a duration such as PT1H, not {shown(value)}"
    return None


def _time(_info: object, value: object) -> str | None:
    if not isinstance(value, str):
        return f"must be {TIME_WORDS}, not {shown(value)}"
    try:
        read_instant(value)
    except ValueError as wrong:
        reason = str(wrong)
        return f"{reason}, not {shown(value)}" if reason.startswith("must") else reason
    return None


def _word(words: Iterable[object], value: object) -> str | None:
    names = [str(one) for one in words]
    if isinstance(value, str) and value.casefold() in {name.casefold() for name in names}:
        return None
    return f"must be one of {', '.join(names)}, not {shown(value)}"


_CHECKS: dict[type[inspect.Type], Callable[[Any, object], str | None]] = {
    inspect.StrType: _text,
    inspect.IntType: _integer,
    inspect.FloatType: _number,
    inspect.BoolType: _truth,
    inspect.UUIDType: _id,
    inspect.TimeDeltaType: _duration,
    inspect.CustomType: _time,
    inspect.EnumType: lambda info, value: _word(info.cls, value),
    inspect.LiteralType: lambda info, value: _word(info.values, value),
}
