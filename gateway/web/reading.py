"""Strict reading of JSON bodies: a struct, or one 400 that names every field that is wrong."""

import codecs
from collections.abc import Iterable
from functools import cache
from itertools import accumulate, chain, count, islice
from operator import sub
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from gateway.errors import BadRequest, FieldError
from gateway.web.faults import MOST_FAULTS, fault, refusal, unknown
from gateway.web.wire import In

MAX_DEPTH = 64
# What has more keys of the caller's own has too many, whatever is in them.
_MOST_KEYS = 100

T = TypeVar("T", bound=In)

# A body is looked through for all of its faults up to this size; of a larger one the first is told.
_THOROUGH_BYTES = 256 * 1024
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_SAME_BRACKETS = bytes.maketrans(b"{}", b"[]")
# Of UTF-8 and UTF-16; a text in UTF-16 or UTF-32 without one has a NUL among its first bytes.
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:  # noqa: ANN401 - any type can be read
    return msgspec.json.Decoder(kind)


def read_body(kind: type[T], raw: bytes) -> T:
    """Read a JSON body; raises BadRequest that names every wrong field.

    Refuses what Postgres or the upstream could not hold: bad UTF-8, lone surrogates, NUL, NaN,
    nesting deeper than 64. Fields that stay raw are well-formed but not looked into otherwise.
    """
    try:
        value = _decoder(kind).decode(raw)
    except msgspec.ValidationError as invalid:
        thorough = len(raw) <= _THOROUGH_BYTES
        raise refusal(
            _faults(kind, raw, str(invalid)) if thorough else [fault(str(invalid))]
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as malformed:
        raise BadRequest(_malformed(malformed, raw)) from None
    except RecursionError:
        raise _too_deep() from None
    if _has_nul(raw):
        raise refusal(_nul(raw))
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_too_deep(raw):
        raise _too_deep()
    return value


def _nul(raw: bytes) -> list[FieldError]:
    return [
        FieldError(name, "has a string with a NUL character (\\u0000)")
        for name, value in _decoder(dict[str, msgspec.Raw]).decode(raw).items()
        if _has_nul(bytes(value))
    ]


def _has_nul(raw: bytes) -> bool:
    # Backslashes occur in strings alone, and two of them are one that escapes nothing.
    return b"\\u0000" in raw and b"\\u0000" in raw.replace(b"\\\\", b"")


def _too_deep() -> BadRequest:
    return BadRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _is_too_deep(raw: bytes) -> bool:
    outside = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(_SAME_BRACKETS, _NOT_BRACKETS)
    # As deep as so many have been opened as never were closed before.
    opened = accumulate(map(len, brackets.split(b"]")))
    return max(map(sub, opened, count())) > MAX_DEPTH


def _malformed(error: Exception, raw: bytes) -> str:
    if not raw.strip():
        return "The body is empty; it must be a JSON object."
    if raw.startswith(_MARKS) or b"\0" in raw[:4]:
        return "The body must be UTF-8 without a byte order mark; this is another encoding, or has one."
    if isinstance(error, UnicodeDecodeError):
        return "The body is not valid UTF-8."
    detail = str(error).removeprefix("JSON is malformed: ")
    return f"The body is not valid JSON: {detail}."


def _faults(kind: type[In], raw: bytes | msgspec.Raw, first: str) -> list[FieldError]:
    """All faults, found field by field; parsing itself stops at the first one."""
    try:
        given = _decoder(dict[str, msgspec.Raw]).decode(raw)
    except msgspec.ValidationError:
        return [fault(first)]
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    strange = islice((name for name in given if name not in fields), MOST_FAULTS)
    faults = [_unknown(kind, name, fields) for name in strange]
    for name, field in fields.items():
        if name in given:
            faults += _field_faults(field.type, given[name], name)
        elif field.required:
            faults.append(FieldError(name, "is required"))
    return faults or [fault(first)]


def _unknown(kind: type[In], name: str, known: Iterable[str]) -> FieldError:
    reason = kind.elsewhere.get(name)
    return unknown(name, known) if reason is None else FieldError(name, reason)


def _field_faults(kind: Any, raw: msgspec.Raw, name: str) -> list[FieldError]:  # noqa: ANN401
    try:
        _decoder(kind).decode(raw)
    except msgspec.ValidationError as invalid:
        if isinstance(kind, type) and issubclass(kind, In):
            inner = _faults(kind, raw, str(invalid))
            return [FieldError(f"{name}.{one.field}".rstrip("."), one.reason) for one in inner]
        return _key_faults(kind, raw, name) or [fault(str(invalid), name, kind)]
    return []


def _key_faults(kind: Any, raw: msgspec.Raw, name: str) -> list[FieldError]:  # noqa: ANN401
    """The faults of what a field holds by keys of the caller's own."""
    types = [get_args(one)[1] for one in (kind, *get_args(kind)) if get_origin(one) is dict]
    if not types:
        return []
    try:
        given: dict[str, msgspec.Raw] = _decoder(dict[str, msgspec.Raw]).decode(raw)
    except msgspec.ValidationError:
        return []
    if len(given) > _MOST_KEYS:
        return []
    parts = [_field_faults(types[0], value, f"{name}.{key}") for key, value in given.items()]
    return list(chain.from_iterable(parts))
