"""Cursors of keyset paging: the last id of a page, or a sealed position, as opaque versioned text."""

import base64
import binascii
from uuid import UUID

_VERSION = b"\x01"
_SEALED = b"\x02"
_LENGTH = 17


class BadCursorError(ValueError):
    """A cursor that this service did not make."""


def encode_cursor(last: UUID) -> str:
    """Write the cursor that continues after `last`."""
    return _text(_VERSION + last.bytes)


def decode_cursor(text: str) -> UUID:
    """Read a cursor; raises BadCursorError."""
    raw = _raw(text)
    if len(raw) != _LENGTH or raw[:1] != _VERSION:
        raise BadCursorError(text)
    return UUID(bytes=raw[1:])


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
