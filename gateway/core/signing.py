"""Standard Webhooks 1.0.0 signatures, scheme v1 (HMAC-SHA256).

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping

SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
TOLERANCE_SECONDS = 300
_MAX_TIMESTAMP_DIGITS = 12


class InvalidSecretError(ValueError):
    """A signing secret is not `whsec_` and the base64 of 24 to 64 bytes."""


class SignatureError(ValueError):
    """A webhook is not proven to come from the holder of the secret."""


def format_secret(raw: bytes) -> str:
    """Write a signing secret the way receivers are given it."""
    return SECRET_PREFIX + base64.b64encode(raw).decode()


def parse_secret(secret: str) -> bytes:
    """Read a signing secret; raises InvalidSecretError when it is malformed or of a wrong length."""
    try:
        raw = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSecretError("a signing secret is 'whsec_' followed by base64") from None
    if not MIN_SECRET_BYTES <= len(raw) <= MAX_SECRET_BYTES:
        raise InvalidSecretError(
            f"a signing secret holds {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, not {len(raw)}"
        )
    return raw


def sign(secrets: Iterable[bytes], webhook_id: str, timestamp: int, body: bytes) -> str:
    """Sign a webhook with every live secret; the value of the `webhook-signature` header."""
    return " ".join(_entry(secret, webhook_id, timestamp, body) for secret in secrets)


def verify(
    secrets: Iterable[bytes],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    tolerance: float = TOLERANCE_SECONDS,
) -> None:
    """Check a received webhook; raises SignatureError saying why it is not to be trusted.

    `headers` has lower-case names; `now` and `tolerance` are in seconds.
    """
    try:
        webhook_id = headers["webhook-id"]
        stamp = headers["webhook-timestamp"]
        given = headers["webhook-signature"].split(" ")
    except KeyError as missing:
        raise SignatureError(f"header {missing.args[0]} is missing") from None
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= _MAX_TIMESTAMP_DIGITS):
        raise SignatureError("webhook-timestamp is not whole seconds")
    if abs(now - int(stamp)) > tolerance:
        raise SignatureError("webhook-timestamp is too far from the present")
    for secret in secrets:
        expected = _entry(secret, webhook_id, int(stamp), body).encode()
        if any(
            hmac.compare_digest(expected, entry.encode(errors="surrogateescape")) for entry in given
        ):
            return
    raise SignatureError("no signature matches a known secret")


def _entry(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    signed = f"{webhook_id}.{timestamp}.".encode(errors="surrogateescape") + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
