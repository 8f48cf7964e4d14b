"""Strict reading of query strings: a struct, or one 400 that names every parameter that is wrong."""

from datetime import datetime
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin
from urllib.parse import unquote_plus

import msgspec

from gateway.errors import BadRequest, FieldError
from gateway.web.faults import MOST_FAULTS, fault, refusal, unknown
from gateway.web.instants import in_utc

T = TypeVar("T", bound=msgspec.Struct)

_REPEATED = "is given more than once"


def read_query(kind: type[T], raw: bytes) -> T:
    """Read a query string; lists repeat, `prefix.<key>` fills a dict field, the rest occur once.

    Raises BadRequest that names every wrong parameter.
    """
    fields = _fields(kind)
    values: dict[str, object] = {}
    keyed: dict[str, dict[str, list[str]]] = {}
    faults: list[FieldError] = []
    pairs = _pairs(raw)
    for name, texts in pairs.items():
        prefix, dot, key = name.partition(".")
        field = fields.get(prefix if dot else name)
        if field is None or (shape_of(field.type) is dict) != bool(dot and key):
            faults += [] if len(faults) >= MOST_FAULTS else [unknown(name, fields)]
        elif dot:
            keyed.setdefault(prefix, {})[key] = texts
        else:
            faults += _fill(values, field, texts)
    for prefix, given in keyed.items():
        faults += _fill_keyed(values, fields[prefix], given)
    for name, field in fields.items():
        if field.required and field.name not in values and name not in pairs:
            faults.append(FieldError(name, "is required"))
    if faults:
        raise refusal(faults)
    return kind(**values)


def shape_of(kind: Any) -> Any:  # noqa: ANN401 - any type can be one of a field
    """What a type is underneath its constraints: list, dict, or None for one that is neither."""
    return get_origin(get_args(kind)[0] if get_origin(kind) is Annotated else kind)


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _pairs(raw: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in filter(None, raw.split(b"&")):
        try:
            name, _, value = part.decode().partition("=")
            name, value = unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict")
        except UnicodeDecodeError:
            raise BadRequest("The query string is not valid UTF-8.") from None
        if "\0" in name:
            raise BadRequest("The query string has a parameter with a NUL character in its name.")
        if "\0" in value:
            raise BadRequest.of(name, "has a NUL character")
        found.setdefault(name, []).append(value)
    return found


def _fill(
    values: dict[str, object], field: msgspec.structs.FieldInfo, texts: list[str]
) -> list[FieldError]:
    is_list = shape_of(field.type) is list
    if not is_list and len(texts) > 1:
        return [FieldError(field.encode_name, _REPEATED)]
    try:
        # A number is text here, but it is no time: 2026 would be a moment in 1970.
        strict = datetime in get_args(field.type)
        value = msgspec.convert(texts if is_list else texts[0], field.type, strict=strict)
        if isinstance(value, datetime):
            value = in_utc(field.encode_name, value)
    except msgspec.ValidationError as invalid:
        reason = fault(str(invalid), kind=field.type).reason
        return [FieldError(field.encode_name, reason)]
    except BadRequest as refused:
        return list(refused.errors)
    values[field.name] = value
    return []


def _fill_keyed(
    values: dict[str, object], field: msgspec.structs.FieldInfo, given: dict[str, list[str]]
) -> list[FieldError]:
    """Fill a dict field; its faults are those of the first key that has one."""
    try:
        values[field.name] = msgspec.convert(given, field.type)
    except msgspec.ValidationError as invalid:
        kind = get_args(get_args(field.type)[0])[1]
        for key, texts in given.items():
            try:
                msgspec.convert(texts, kind)
            except msgspec.ValidationError as wrong:
                return [FieldError(f"{field.encode_name}.{key}", fault(str(wrong)).reason)]
        return [FieldError(field.encode_name, fault(str(invalid)).reason)]
    return []
