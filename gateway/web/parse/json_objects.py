"""JSON objects that are stored as their caller wrote them, after they were validated."""

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from gateway.core.text.stored_json import is_surely_short, misfit, stored_bytes
from gateway.core.upstream_metadata import MARKER
from gateway.errors import BadRequest, FieldError
from gateway.web.parse.plain_json import decode, decode_object
from gateway.web.parse.type_errors import Check
from gateway.web.parse.validation_errors import refusal

_MAX_KEYS = 100
_MAX_KEY = 128
_MAX_METADATA_BYTES = 16 * 1024
# In longer texts there is no search for the place of a wrong number.
_SEARCHED_BYTES = 64 * 1024
_OUT_OF_RANGE = "number out of range: JSON readers hold numbers as IEEE 754 doubles"

_Object = dict[str, Any]
_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_Texts = dict[str, str]
_texts = msgspec.json.Decoder(_Texts)
_ABSENT = (b"", b"null")


def read_object(field: str, raw: msgspec.Raw) -> tuple[str, _Object]:
    """A JSON object as text and as a value; raises BadRequest naming the field."""
    return _read(_Object, field, raw)


def read_texts(field: str, raw: msgspec.Raw) -> tuple[str | None, dict[str, str]]:
    """A JSON object of strings, or null; raises BadRequest naming the field."""
    return (None, {}) if bytes(raw) in _ABSENT else _read(_Texts, field, raw)


def read_metadata(raw: msgspec.Raw) -> tuple[str, _Object]:
    """Metadata, `{}` where it is absent; raises BadRequest.

    At most 100 keys of at most 128 characters, 16 KiB in its stored form, no number larger than
    doubles hold, and none of the gateway's own keys.
    """
    size = len(bytes(raw))
    if bytes(raw) in _ABSENT:
        return "{}", {}
    if size > 2 * _MAX_METADATA_BYTES:
        raise BadRequest.of("metadata", _too_long(size))
    text, metadata = _read(_Object, "metadata", raw)
    if not is_surely_short(text, _MAX_METADATA_BYTES):
        _require_storable(text)
    if len(metadata) > _MAX_KEYS:
        raise BadRequest.of(
            "metadata", f"has {len(metadata)} keys; at most {_MAX_KEYS} are allowed"
        )
    if max(map(len, metadata), default=0) > _MAX_KEY:
        raise BadRequest.of("metadata", f"has a key of more than {_MAX_KEY} characters")
    if MARKER in metadata:
        raise BadRequest.of(f"metadata.{MARKER}", "the gateway uses this key itself")
    return text, metadata


def merged_metadata(tenant: str, request: str, keys: Collection[str]) -> str:
    """A tenant's metadata overridden by a request's, both as JSON; `keys` are those of the request."""
    if not keys:
        return tenant
    if tenant != "{}" and _keys(tenant).isdisjoint(keys):
        # No key is in both, so the texts are joined without parsing, which is 20 times cheaper.
        return f"{tenant[:-1]},{request.lstrip()[1:]}"
    members = _raw_members.decode(tenant) | _raw_members.decode(request)
    return msgspec.json.encode(members).decode()


@lru_cache(maxsize=1024)
def _keys(text: str) -> frozenset[str]:
    return frozenset(decode_object(text.encode()))


def _require_storable(text: str) -> None:
    place = misfit(text)
    if place is not None:
        raise BadRequest.of(f"metadata{place}", _OUT_OF_RANGE)
    size = stored_bytes(text)
    if size > _MAX_METADATA_BYTES:
        raise BadRequest.of("metadata", _too_long(size))


def _too_long(size: int) -> str:
    return f"is {size} bytes long as it is stored; at most {_MAX_METADATA_BYTES} are allowed"


def _read(kind: Any, field: str, raw: msgspec.Raw) -> tuple[str, Any]:  # noqa: ANN401 - any type
    text = bytes(raw)
    try:
        return text.decode(), decode_object(text) if kind is _Object else _texts.decode(text)
    except msgspec.ValidationError:
        place = misfit(text.decode()) if len(text) < _SEARCHED_BYTES else None
        if place is not None:
            raise BadRequest.of(f"{field}{place}", _OUT_OF_RANGE) from None
        raise refusal(_faults(kind, field, text)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as malformed:
        raise BadRequest.of(field, f"is not valid JSON: {malformed}") from None


def _faults(kind: Any, field: str, text: bytes) -> Iterator[FieldError]:  # noqa: ANN401 - as above
    try:
        value = decode(text)
    except msgspec.ValidationError:
        yield FieldError(field, _OUT_OF_RANGE)
        return
    yield from Check().faults(kind, value, field)
