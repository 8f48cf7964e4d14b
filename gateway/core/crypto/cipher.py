"""Sealing of secrets at rest: AES-256-GCM under the master key.

A sealed value is `key number (4 bytes) | nonce (12 bytes) | ciphertext and tag`. Its table,
tenant, row and version are authenticated with it (associated data), so a sealed value that is moved to
another row does not open.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
NUMBER_BYTES = 4


class CannotOpenError(ValueError):
    """A sealed value was sealed with another key or other associated data, or was changed.

    `key` is the number of the key that sealed it, in hexadecimal digits.
    """

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class AssociatedData:
    """Where a sealed value is stored: table, tenant, row and version."""

    table: str
    tenant: str
    row: str
    version: int = 1

    def bytes(self) -> bytes:
        """The authenticated form; no part may hold the separator."""
        return "|".join((self.table, self.tenant, self.row, str(self.version))).encode()


class Cipher:
    """Seals with the first of its keys and opens with any of them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError("a master key has 32 bytes")
        self._keys = {_number(key): AESGCM(key) for key in keys}
        self._first = _number(keys[0])

    @property
    def numbers(self) -> list[bytes]:
        """The numbers of the keys; the first one seals."""
        return list(self._keys)

    @staticmethod
    def number_of(sealed: bytes) -> bytes:
        """The number of the key that sealed a value."""
        return sealed[:NUMBER_BYTES]

    def seal(self, plain: bytes, place: AssociatedData, nonce: bytes) -> bytes:
        """Seal a secret for one row; `nonce` is 12 bytes that were never used before."""
        sealed = self._keys[self._first].encrypt(nonce, plain, place.bytes())
        return self._first + nonce + sealed

    def open(self, sealed: bytes, place: AssociatedData) -> bytes:
        """Open a sealed secret; raises CannotOpenError."""
        number = self.number_of(sealed).hex()
        key = self._keys.get(self.number_of(sealed))
        if key is None:
            what = f"{place.table} {place.row}"
            raise CannotOpenError(f"no master key opens {what}", number)
        rest = sealed[NUMBER_BYTES:]
        nonce, body = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        try:
            return key.decrypt(nonce, body, place.bytes())
        except (InvalidTag, ValueError):
            raise CannotOpenError(
                f"the master key does not open {place.table} {place.row}", number
            ) from None


@dataclass(frozen=True, slots=True)
class Secret:
    """Text that must not be shown: its repr hides it."""

    value: str = field(repr=False)


def _number(key: bytes) -> bytes:
    # Tells keys apart; derived from the key, so nobody has to number them.
    return hmac.digest(key, b"key number", "sha256")[:NUMBER_BYTES]
