"""Access keys: `jgw_<key id>_<secret><checksum>`.

The key id is public: it is stored, indexed and logged. The secret is only ever stored as its
SHA-256, which is enough for a random secret of 256 bits. The checksum lets anyone reject a
mistyped or cut key without asking the database.
"""

import hashlib
import hmac
import re
import zlib
from typing import NamedTuple

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43
_CHECKSUM_LENGTH = 6
_PATTERN = re.compile(
    rf"jgw_([0-9a-z]{{16}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})"
)

SECRET_BYTES = 32
KEY_ID_BYTES = 8


class ParsedKey(NamedTuple):
    """The public id of an access key and the digest its secret must have."""

    key_id: str
    digest: bytes


class NewKey(NamedTuple):
    """A key at its creation, the only time that its text exists."""

    text: str
    key_id: str
    digest: bytes


def make_key(key_id: bytes, secret: bytes) -> NewKey:
    """Build a key from 8 and 32 random bytes."""
    public = key_id.hex()
    body = f"jgw_{public}_{_base62(int.from_bytes(secret), _SECRET_LENGTH)}"
    text = body + _checksum(body)
    return NewKey(text, public, _digest(text))


def parse_key(text: str) -> ParsedKey | None:
    """Read a presented key; None when it cannot be one of ours."""
    match = _PATTERN.fullmatch(text)
    if match is None or not hmac.compare_digest(
        _checksum(text[:-_CHECKSUM_LENGTH]), text[-_CHECKSUM_LENGTH:]
    ):
        return None
    return ParsedKey(match[1], _digest(text))


def same_digest(stored: bytes, presented: bytes) -> bool:
    """Compare two digests in constant time."""
    return hmac.compare_digest(stored, presented)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
