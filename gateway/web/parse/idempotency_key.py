"""The header Idempotency-Key, and the fingerprint by which a repeated request is recognized."""

import hashlib
import re

import msgspec

from gateway.errors import BadRequest
from gateway.web.asgi.request_context import RequestContext

_KEY = re.compile(r"[ -~]{1,255}")


def idempotency_key_of(request_context: RequestContext) -> str | None:
    """The key that a caller gave, if any; raises BadRequest."""
    if b"idempotency-key" not in request_context.headers:
        return None
    key = request_context.header(b"idempotency-key")
    if not _KEY.fullmatch(key):
        raise BadRequest.of("Idempotency-Key", "must have 1 to 255 printable ASCII characters")
    return key


def fingerprint(values: list[object]) -> bytes:
    """A digest of values that ignores the order of keys and spaces."""
    return hashlib.sha256(msgspec.json.encode(values, order="sorted")).digest()
