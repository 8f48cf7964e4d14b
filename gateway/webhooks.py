"""Verifies webhooks at the receiver: proves that the holder of the signing secret sent them.

    event = verify(request.body, request.headers, "whsec_...")

Standard Webhooks 1.0.0. This file needs only Python, so it can be copied; `v1a` signatures need the
package `cryptography`, too.
"""

import base64
import binascii
import hmac
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol, cast

TOLERANCE_SECONDS = 300
SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix
PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
ED25519_BYTES = 32
# A limit, because checking one v1a entry takes a tenth of a millisecond, and anybody can send them.
_MAX_ENTRIES = 50
_MAX_TIMESTAMP_DIGITS = 12
_ID, _TIMESTAMP, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


class WebhookVerificationError(ValueError):
    """The webhook is not proven to come from the holder of the secret; the text says why."""


class HiddenBytes(bytes):
    """Bytes whose value does not appear in logs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:  # pyright: ignore[reportImplicitOverride] - typing has it from 3.12
        return f"{type(self).__name__}(...)"

    __str__ = __repr__


class HmacKey(HiddenBytes):
    """The key of a `whsec_` secret; signs and verifies `v1`."""

    __slots__ = ()


class PublicKey(bytes):
    """The key of a `whpk_` text; verifies `v1a`."""

    __slots__ = ()


class WithItems(Protocol):
    """Headers in a mapping, or in the type of a web framework."""

    def items(self) -> Iterable[tuple[str | bytes, object]]: ...


def verify(
    body: bytes | str,
    headers: WithItems | Iterable[tuple[str | bytes, str | bytes]],
    secrets: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> dict[str, Any]:
    """Return the event of a webhook if any of the secrets proves it.

    `body` is the raw request body, before any parsing. Header names may have any case. A secret is
    `whsec_...` or a public key `whpk_...`. `tolerance` and `now` are in seconds. Raises
    WebhookVerificationError.
    """
    content = _as_bytes("the body", body)
    given = _wanted_headers(headers)
    keys = [read_key(cast("str", text)) for text in _several(secrets)]
    _check_time(given[_TIMESTAMP], time.time() if now is None else now, tolerance)
    signed = b".".join((given[_ID], given[_TIMESTAMP], content))
    _check_signature(keys, given[_SIGNATURE], signed)
    return _event(content)


def read_key(text: str) -> HmacKey | PublicKey:
    """Decode a secret or public key of a receiver; raises WebhookVerificationError."""
    if not isinstance(cast("object", text), str):
        raise WebhookVerificationError(
            f"a secret is text that begins with '{SECRET_PREFIX}' or '{PUBLIC_PREFIX}'"
        )
    if text.startswith(PRIVATE_PREFIX):
        raise WebhookVerificationError(
            f"'{PRIVATE_PREFIX}' is the sender's; a receiver checks with '{PUBLIC_PREFIX}'"
        )
    if text.startswith(PUBLIC_PREFIX):
        return PublicKey(decode_key(text, PUBLIC_PREFIX, ED25519_BYTES, ED25519_BYTES))
    return HmacKey(decode_key(text, SECRET_PREFIX, MIN_SECRET_BYTES, MAX_SECRET_BYTES))


def decode_key(text: str, prefix: str, least: int, most: int) -> bytes:
    """Decode a secret or key, with or without its prefix; raises WebhookVerificationError."""
    what = "a signing secret" if prefix == SECRET_PREFIX else f"a '{prefix}' key"
    try:
        raw = base64.b64decode(text.removeprefix(prefix), validate=True)
    except ValueError:
        raise WebhookVerificationError(f"{what} is '{prefix}' followed by base64") from None
    if not least <= len(raw) <= most:
        length = f"{least}" if least == most else f"{least} to {most}"
        raise WebhookVerificationError(f"{what} holds {length} bytes, not {len(raw)}")
    return raw


def hmac_entry(key: bytes, signed: bytes) -> bytes:
    """Return the `v1` entry of the signature header for `id.timestamp.body`."""
    return b"v1," + binascii.b2a_base64(hmac.digest(key, signed, "sha256"), newline=False)


def _as_bytes(what: str, value: object) -> bytes:
    if not isinstance(value, str | bytes | bytearray | memoryview):
        raise WebhookVerificationError(
            f"{what} is {type(value).__name__}: give the bytes or text that arrived"
        )
    try:
        # Web servers pass bytes that are not UTF-8 as lone surrogates.
        if isinstance(value, str):
            return value.encode(errors="surrogateescape")
        return bytes(cast("bytes", value))
    except ValueError:  # lone surrogates of another kind, or a memoryview that was released
        raise WebhookVerificationError(f"{what} holds what no request can carry") from None


def _wanted_headers(headers: object) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for given, value in _pairs(headers):
        name = given.decode("latin-1") if isinstance(given, bytes) else given
        name = name.lower() if isinstance(name, str) else ""
        if name in found:
            raise WebhookVerificationError(f"header {name} is there more than once")
        if name in (_ID, _TIMESTAMP, _SIGNATURE):
            found[name] = _as_bytes(f"header {name}", value)
    for name in (_ID, _TIMESTAMP, _SIGNATURE):
        if name not in found:
            raise WebhookVerificationError(f"header {name} is missing")
    return found


def _pairs(headers: object) -> list[tuple[object, object]]:
    try:
        has_items = hasattr(headers, "items")
        pairs = cast("WithItems", headers).items() if has_items else cast("Iterable[Any]", headers)
        return [(name, value) for name, value in pairs]
    except Exception:  # noqa: BLE001 - the caller's code may raise anything
        raise WebhookVerificationError(
            "the headers are neither a mapping nor pairs of name and value"
        ) from None


def _several(secrets: object) -> list[object]:
    try:
        return [secrets] if isinstance(secrets, str) else list(cast("Iterable[object]", secrets))
    except Exception:  # noqa: BLE001 - the caller's code may raise anything
        raise WebhookVerificationError(
            f"the secrets are {type(secrets).__name__}: give one as text, or several in a list"
        ) from None


def _seconds(what: str, value: object) -> float:
    if not isinstance(value, int | float):
        raise WebhookVerificationError(
            f"{what} is {type(value).__name__}: give seconds as a number"
        )
    return value


def _check_time(stamp: bytes, now: object, tolerance: object) -> None:
    if not (stamp.isdigit() and len(stamp) <= _MAX_TIMESTAMP_DIGITS):
        raise WebhookVerificationError(f"{_TIMESTAMP} is not whole seconds")
    away = abs(_seconds("the present", now) - int(stamp))
    if not away <= _seconds("the tolerance", tolerance):  # written so that NaN is refused
        raise WebhookVerificationError(f"{_TIMESTAMP} is too far from the present")


def _check_signature(keys: Sequence[HmacKey | PublicKey], header: bytes, signed: bytes) -> None:
    if not keys:
        raise WebhookVerificationError("no secret was given to check with")
    entries = header.split(b" ")
    if len(entries) > _MAX_ENTRIES:
        raise WebhookVerificationError(f"{_SIGNATURE} has more than {_MAX_ENTRIES} entries")
    symmetric = [key for key in keys if isinstance(key, HmacKey)]
    public = [key for key in keys if isinstance(key, PublicKey)]
    if _proven_by_hmac(symmetric, entries, signed) or _proven_by_ed25519(public, entries, signed):
        return
    wanted = {b"v1"} if not public else {b"v1", b"v1a"} if symmetric else {b"v1a"}
    if wanted.isdisjoint(entry.partition(b",")[0] for entry in entries):
        versions = " or ".join(sorted(version.decode() for version in wanted))
        raise WebhookVerificationError(f"{_SIGNATURE} has no entry of version {versions}")
    raise WebhookVerificationError("no signature matches a known secret")


def _proven_by_hmac(keys: Sequence[HmacKey], entries: Sequence[bytes], signed: bytes) -> bool:
    known = [hmac_entry(key, signed) for key in keys]
    # A sum, so that the duration does not reveal which secret or entry matched.
    return sum(hmac.compare_digest(one, entry) for one in known for entry in entries) > 0


def _proven_by_ed25519(keys: Sequence[PublicKey], entries: Sequence[bytes], signed: bytes) -> bool:
    signatures = [found for entry in entries if (found := _ed25519_signature(entry))]
    if not (keys and signatures):
        return False
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - optional
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PublicKey,
        )
    except ImportError:
        raise WebhookVerificationError(
            "v1a signatures need the package 'cryptography', which is not installed"
        ) from None
    for key in map(Ed25519PublicKey.from_public_bytes, keys):
        for signature in signatures:
            with suppress(InvalidSignature):
                key.verify(signature, signed)
                return True
    return False


def _ed25519_signature(entry: bytes) -> bytes | None:
    """Return the signature of a `v1a` entry; None for other versions and non-canonical base64."""
    version, _, text = entry.partition(b",")
    if version != b"v1a":
        return None
    with suppress(binascii.Error):
        raw = base64.b64decode(text)
        if base64.b64encode(raw) == text:
            return raw
    return None


def _event(content: bytes) -> dict[str, Any]:
    try:
        event = json.loads(content)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise WebhookVerificationError("the signature is good, but the body is no JSON object")
    return cast("dict[str, Any]", event)
