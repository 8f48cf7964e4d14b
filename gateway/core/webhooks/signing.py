"""Standard Webhooks 1.0.0 signatures: `v1` is HMAC-SHA256, `v1a` is Ed25519.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway import webhooks
from gateway.webhooks import (
    ED25519_BYTES,
    PRIVATE_PREFIX,
    PUBLIC_PREFIX,
    SECRET_PREFIX,
    HiddenBytes,
    HmacKey,
    PublicKey,
    WebhookVerificationError,
)

SignatureError = WebhookVerificationError


class InvalidSecretError(ValueError):
    """A signing secret is neither `whsec_` nor `whsk_` with the base64 of a key."""


class Ed25519Key(HiddenBytes):
    """The private key of a `whsk_` secret, its seed of 32 bytes: signs `v1a`."""

    __slots__ = ()


SigningKey = HmacKey | Ed25519Key


def parse_secret(secret: str) -> SigningKey:
    """Read a signing secret; raises InvalidSecretError when it is malformed or of a wrong length."""
    try:
        if secret.startswith(PRIVATE_PREFIX):
            return _private_key(secret)
        key = webhooks.read_key(secret)
    except WebhookVerificationError as error:
        raise InvalidSecretError(str(error)) from None
    if isinstance(key, PublicKey):
        raise InvalidSecretError(f"a '{PUBLIC_PREFIX}' key is public and signs nothing")
    return key


def format_secret(key: bytes) -> str:
    """Write a signing secret as `whsec_`, or as `whsk_` with the public key behind the private."""
    if isinstance(key, Ed25519Key):
        return PRIVATE_PREFIX + base64.b64encode(key + public_bytes(key)).decode()
    return SECRET_PREFIX + base64.b64encode(key).decode()


def sign(keys: Iterable[bytes], webhook_id: str, timestamp: int, body: bytes) -> str:
    """Sign a webhook with every live key; the value of the `webhook-signature` header.

    An Ed25519Key makes a `v1a` entry, all other bytes a `v1` entry.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return " ".join([_entry(key, signed) for key in keys])


def public_bytes(seed: bytes) -> bytes:
    """The public key of a private one, 32 bytes each."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def public_key(secret: str | bytes) -> str:
    """What a receiver of `v1a` is given, `whpk_...`, for a `whsk_` text or a seed of 32 bytes.

    Raises InvalidSecretError for a text that is no `whsk_`.
    """
    key = parse_secret(secret) if isinstance(secret, str) else secret
    if isinstance(key, HmacKey):
        raise InvalidSecretError(f"only a '{PRIVATE_PREFIX}' secret has a public key")
    return PUBLIC_PREFIX + base64.b64encode(public_bytes(key)).decode()


def jwk(public: bytes) -> dict[str, str]:
    """A public key of 32 bytes as RFC 8037 writes it, named by its RFC 7638 thumbprint."""
    x = _base64url(public)
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'
    thumbprint = _base64url(hashlib.sha256(members.encode()).digest())
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": x,
        "kid": thumbprint,
        "use": "sig",
        "alg": "EdDSA",
    }


def verify(
    keys: Iterable[bytes],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    tolerance: float = webhooks.TOLERANCE_SECONDS,
) -> None:
    """Check a webhook as a receiver does, with the sender's keys; raises SignatureError."""
    secrets = [public_key(k) if isinstance(k, Ed25519Key) else format_secret(k) for k in keys]
    webhooks.verify(body, headers, secrets, tolerance=tolerance, now=now)


def _entry(key: bytes, signed: bytes) -> str:
    if isinstance(key, Ed25519Key):
        signature = Ed25519PrivateKey.from_private_bytes(key).sign(signed)
        return "v1a," + base64.b64encode(signature).decode()
    return webhooks.hmac_entry(key, signed).decode()


def _private_key(secret: str) -> Ed25519Key:
    raw = webhooks.decode_key(secret, PRIVATE_PREFIX, ED25519_BYTES, 2 * ED25519_BYTES)
    seed, public = Ed25519Key(raw[:ED25519_BYTES]), raw[ED25519_BYTES:]
    if public and public != public_bytes(seed):
        raise InvalidSecretError(
            f"a '{PRIVATE_PREFIX}' secret holds a private key of {ED25519_BYTES} bytes, "
            "alone or followed by its own public key"
        )
    return seed


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
