"""Parses GATEWAY_MASTER_KEY: base64 of 32 random bytes, several separated by commas."""

import base64
import binascii

_KEY_BYTES = 32


def decode_keys(text: str) -> list[bytes]:
    """The keys, the one that seals first; raises ValueError."""
    try:
        keys = [base64.b64decode(key, validate=True) for key in text.split(",")]
    except (binascii.Error, ValueError):
        raise ValueError("must be base64") from None
    if any(len(key) != _KEY_BYTES for key in keys):
        raise ValueError(
            "must be the base64 of 32 random bytes: python3 -c "
            "'import base64,os;print(base64.b64encode(os.urandom(32)).decode())'"
        )
    return keys
