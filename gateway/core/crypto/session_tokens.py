"""Tokens of sessions (`jgs_...`), of one-time links (`jgl_...`) and of sign-ins elsewhere (`jgo_...`).

Each has 256 random bits, and is known by its digest.

As with access keys, SHA-256 is enough for a random secret of that length, and it is looked up by
its digest, so no comparison shows how much of a guess was right.
"""

import base64
import hashlib
import hmac
import re
from typing import Literal, NamedTuple

TOKEN_BYTES = 32

_PATTERN = re.compile(r"(jg[slo])_[0-9A-Za-z_-]{43}")
# Separates the CSRF token from anything else that may once be derived from the same token.
_CSRF = b"csrf"

TokenKind = Literal["jgs", "jgl", "jgo"]
SESSION: TokenKind = "jgs"
LINK: TokenKind = "jgl"
STATE: TokenKind = "jgo"  # what OpenID Connect calls the state


class NewToken(NamedTuple):
    """A token at its creation, the only time that the gateway has its text."""

    text: str
    digest: bytes


def make_token(kind: TokenKind, secret: bytes) -> NewToken:
    """Build a token from 32 random bytes."""
    text = f"{kind}_{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"
    return NewToken(text, _digest(text))


def digest_of(kind: TokenKind, text: str) -> bytes | None:
    """The digest that a presented token is looked up by; None if it cannot be a token of this kind."""
    match = _PATTERN.fullmatch(text)
    return _digest(text) if match and match[1] == kind else None


def csrf_token(session_token: str) -> str:
    """The CSRF token of a session: it is derived from the session's token, so nothing is stored."""
    return hmac.new(session_token.encode(), _CSRF, hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
