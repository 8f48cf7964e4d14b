"""Cursors of keyset paging: the last id of a page, or a sealed position, as opaque versioned text.

Where history is read from a replica, the cursor also has the moment when the first page was read.
"""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

_VERSION = b"\x01"
_SEALED = b"\x02"
_DATED = b"\x03"
_LENGTH = 17
_DATE_BYTES = 6
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class BadCursorError(ValueError):
    """A cursor that this service did not make."""


class PageCursor(NamedTuple):
    """A place in a list: after the id `last`, None for its start; and when its first page was read."""

    last: UUID | None = None
    began: datetime | None = None


def encode_cursor(last: UUID) -> str:
    """Write the cursor that continues after `last`."""
    return _text(_VERSION + last.bytes)


def decode_cursor(text: str) -> UUID:
    """Read a cursor; raises BadCursorError."""
    raw = _raw(text)
    if len(raw) != _LENGTH or raw[:1] != _VERSION:
        raise BadCursorError(text)
    return UUID(bytes=raw[1:])


def encode_page(last: UUID, began: datetime | None) -> str:
    """Write the cursor of a list, with the moment of its first page if that matters."""
    if began is None:
        return encode_cursor(last)
    date = (began - _EPOCH) // _MILLISECOND
    return _text(_DATED + last.bytes + date.to_bytes(_DATE_BYTES))


def decode_page(text: str) -> PageCursor:
    """Read a cursor of a list; raises BadCursorError."""
    raw = _raw(text)
    if raw[:1] != _DATED or len(raw) != _LENGTH + _DATE_BYTES:
        return PageCursor(decode_cursor(text))
    try:
        began = _EPOCH + int.from_bytes(raw[_LENGTH:]) * _MILLISECOND
    except OverflowError:
        raise BadCursorError(text) from None
    return PageCursor(UUID(bytes=raw[1:_LENGTH]), began)


def encode_sealed(sealed: bytes) -> str:
    """Write a sealed position, which only the gateway can read."""
    return _text(_SEALED + sealed)


def decode_sealed(text: str) -> bytes | None:
    """Read a sealed position; None where it is a plain cursor. Raises BadCursorError."""
    raw = _raw(text)
    return raw[1:] if raw[:1] == _SEALED else None


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(text: str) -> bytes:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadCursorError(text) from None
    if _text(raw) != text:
        raise BadCursorError(text)  # another spelling of one of ours
    return raw
