"""Strict parsing of JSON bodies: a struct, or one 400 that names every wrong field."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, chain, count
from operator import sub
from typing import Any, TypeVar

import msgspec

from gateway.errors import BadRequest, FieldError
from gateway.web.parse.json_syntax import broken_json
from gateway.web.parse.plain_json import decode
from gateway.web.parse.type_errors import Check
from gateway.web.parse.validation_errors import refusal
from gateway.web.schemas.requests import In
from gateway.web.schemas.timestamps import decode_instant

MAX_DEPTH = 64

_PART_BYTES = 64 * 1024
T = TypeVar("T", bound=In)

_PLACE = re.compile(r"at `\$\.?(.*)`", re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_SAME_BRACKETS = bytes.maketrans(b"{}", b"[]")


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:  # noqa: ANN401 - any type can be read
    return msgspec.json.Decoder(kind, dec_hook=decode_instant)


def read_body(kind: type[T], raw: bytes) -> T:
    """Read a JSON body; raises BadRequest that names every wrong field.

    Refuses what Postgres or the upstream cannot store: bad UTF-8, lone surrogates, NUL, NaN,
    nesting deeper than 64. Of raw fields it checks only that they are well-formed JSON.
    """
    try:
        value = _decoder(kind).decode(raw)
    except msgspec.ValidationError as invalid:
        raise _refused(kind, raw, invalid) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as malformed:
        raise BadRequest(broken_json(malformed, raw)) from None
    except RecursionError:
        raise _too_deep() from None
    if _has_nul(raw):
        raise refusal(_nul(raw))
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_too_deep(raw):
        raise _too_deep()
    return value


def _refused(kind: type[In], raw: bytes, invalid: msgspec.ValidationError) -> BadRequest:
    if not raw.lstrip().startswith(b"{"):
        return BadRequest("The body must be a JSON object.")
    try:
        value = decode(raw)
    except msgspec.ValidationError:
        return refusal(_out_of_range(raw))
    except (msgspec.DecodeError, UnicodeDecodeError) as malformed:
        return BadRequest(broken_json(malformed, raw))
    except RecursionError:
        return _too_deep()
    faults = Check().faults(kind, value)
    place = _PLACE.search(str(invalid))
    unseen = FieldError(place[1] if place else "", "is not of the right type")
    return refusal(chain([next(faults, unseen)], faults))


def _out_of_range(raw: bytes) -> Iterator[FieldError]:
    """The fields with a number that does not fit into 64 bits; no type here allows one."""
    for name, value in _decoder(dict[str, msgspec.Raw]).decode(raw).items():
        try:
            decode(bytes(value))
        except msgspec.ValidationError:
            yield FieldError(name, "has a number that is out of range")


def _nul(raw: bytes) -> list[FieldError]:
    return [
        FieldError(name, "has a string with a NUL character (\\u0000)")
        for name, value in _decoder(dict[str, msgspec.Raw]).decode(raw).items()
        if _has_nul(bytes(value))
    ]


def _has_nul(raw: bytes) -> bool:
    # Backslashes occur only in strings, and a pair of them is an escaped one, which starts no escape.
    return b"\\u0000" in raw and b"\\u0000" in raw.replace(b"\\\\", b"")


def _too_deep() -> BadRequest:
    return BadRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _is_too_deep(raw: bytes) -> bool:
    outside = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(_SAME_BRACKETS, _NOT_BRACKETS)
    depth = 0
    # In parts, because no other thread runs during one of these calculations.
    for start in range(0, len(brackets), _PART_BYTES):
        part = brackets[start : start + _PART_BYTES]
        # The depth at a bracket is how many were opened before it, less how many were closed.
        opened = accumulate(map(len, part.split(b"]")))
        if depth + max(map(sub, opened, count())) > MAX_DEPTH:
            return True
        depth += part.count(b"[") - part.count(b"]")
    return False
