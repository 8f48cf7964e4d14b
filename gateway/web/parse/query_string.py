"""Strict parsing of query strings: a struct, or one 400 that names every wrong parameter."""

import re
from functools import cache
from itertools import islice
from typing import Annotated, Any, TypeVar, get_args, get_origin
from urllib.parse import unquote_plus

import msgspec
from msgspec.structs import FieldInfo

from gateway.errors import BadRequest, FieldError
from gateway.web.parse.type_errors import Check
from gateway.web.parse.validation_errors import refusal
from gateway.web.schemas.requests import In
from gateway.web.schemas.timestamps import decode_instant

T = TypeVar("T", bound=In)

_REPEATED = "is given more than once"
_PLACE = re.compile(r"\[\d+\]$")
_KEYED = re.compile(r"(\w+)(?:\.(.+)|\[(.+)\])", re.DOTALL)


def read_query(kind: type[T], raw: bytes) -> T:
    """Read a query string; raises BadRequest that names every wrong parameter.

    A list field takes a parameter many times, all others once. `prefix.<key>` and `prefix[<key>]`
    fill a dict field. An alias stands for another name.
    """
    fields, check = _fields(kind), Check()
    values: dict[str, object] = {}
    keyed: dict[str, dict[str, list[str]]] = {}
    faults: list[FieldError] = []
    pairs = _pairs(raw)
    for name, texts in pairs.items():
        match = _KEYED.fullmatch(name)
        field = fields.get(match[1] if match else kind.aliases.get(name, name))
        if field is None or (shape_of(field.type) is not dict and match):
            faults.append(check.unknown(name, [*fields, *kind.aliases]))
        elif match:
            held = keyed.setdefault(field.encode_name, {})
            held.setdefault(match[2] or match[3], []).extend(texts)
        else:
            faults += _fill(values, field, texts, name)
    for name, given in keyed.items():
        faults += _fill_keyed(values, fields[name], given)
    for name, field in fields.items():
        if field.required and field.name not in values and name not in pairs:
            faults.append(FieldError(name, "is required"))
    if faults:
        raise refusal(faults)
    return kind(**values)


def shape_of(kind: Any) -> Any:  # noqa: ANN401 - any type can be one of a field
    """The type without its constraints: list, dict, or None for any other."""
    return get_origin(get_args(kind)[0] if get_origin(kind) is Annotated else kind)


@cache
def _fields(kind: type[In]) -> dict[str, FieldInfo]:
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
    values: dict[str, object], field: FieldInfo, texts: list[str], name: str
) -> list[FieldError]:
    """Add a parameter to the values, or return what is wrong with it."""
    origin = shape_of(field.type)
    if origin is dict:
        return [FieldError(name, f"needs a key, as in {name}.<key>=<value>")]
    if field.name in values:
        return [FieldError(name, f"{_REPEATED}, under two names")]
    if origin is not list and len(texts) > 1:
        return [FieldError(name, _REPEATED)]
    given = texts if origin is list else texts[0]
    try:
        values[field.name] = msgspec.convert(
            given, field.type, strict=False, dec_hook=decode_instant
        )
    except msgspec.ValidationError:
        is_number = not {int, float}.isdisjoint(_leaves(field.type))
        fault = next(Check().faults(field.type, _number(texts[0]) if is_number else given), None)
        return [FieldError(name, fault.reason if fault else "cannot be read")]
    return []


def _fill_keyed(
    values: dict[str, object], field: FieldInfo, given: dict[str, list[str]]
) -> list[FieldError]:
    """Fill a dict field, or return the fault of the first wrong key."""
    try:
        values[field.name] = msgspec.convert(given, field.type)
    except msgspec.ValidationError:
        faults = islice(Check().faults(field.type, given, field.encode_name), 1)
        return [FieldError(_PLACE.sub("", one.field), one.reason) for one in faults]
    return []


def _leaves(kind: Any) -> set[object]:  # noqa: ANN401
    parts = get_args(kind)
    return {kind}.union(*map(_leaves, parts)) if parts else {kind}


def _number(text: str) -> object:
    try:
        return msgspec.json.decode(text, type=int | float)
    except msgspec.MsgspecError:
        return text
