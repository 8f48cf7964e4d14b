"""Keyset cursors: an opaque, versioned form of the last id that a page showed."""

import base64
import binascii
from uuid import UUID

_VERSION = b"\x01"
_LENGTH = 17


class BadCursorError(ValueError):
    """A cursor that this service did not make."""


def encode_cursor(last: UUID) -> str:
    """Write the cursor that continues after `last`."""
    return base64.urlsafe_b64encode(_VERSION + last.bytes).rstrip(b"=").decode()


def decode_cursor(text: str) -> UUID:
    """Read a cursor; raises BadCursorError."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadCursorError(text) from None
    if len(raw) != _LENGTH or raw[:1] != _VERSION:
        raise BadCursorError(text)
    found = UUID(bytes=raw[1:])
    if encode_cursor(found) != text:
        raise BadCursorError(text)  # another spelling of one of ours
    return found
