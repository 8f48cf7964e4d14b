"""What a request body may be: JSON in UTF-8, not compressed."""

import re
from collections.abc import Mapping

from gateway.errors import UnsupportedMediaType

_PLAIN = frozenset({b"application/json", b"application/json; charset=utf-8"})
_JSON = re.compile(r"application/(?:[!#$&^_.+a-z0-9-]+\+)?json|text/json")
# Types that curl and browsers set by default, so they say nothing about the body.
_UNDECLARED = frozenset({"", "*/*", "text/plain", "application/x-www-form-urlencoded"})
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";\s]*)', re.IGNORECASE)
_UTF_8 = frozenset({"", "utf-8", "utf8", "us-ascii"})
_ACCEPTED = "application/json"
_ACCEPTED_PATCHES = "application/merge-patch+json, application/json"


def require_readable(method: str, headers: Mapping[bytes, bytes]) -> None:
    """Raise UnsupportedMediaType for a body that is compressed, not JSON, or not UTF-8."""
    if (coding := headers.get(b"content-encoding")) is not None:
        _require_identity(coding.decode("latin-1"))
    given = headers.get(b"content-type", b"")
    if given in _PLAIN:
        return
    text = given.decode("latin-1")
    kind = text.partition(";")[0].strip().lower()
    charset = _CHARSET.search(text)
    if kind not in _UNDECLARED and not _JSON.fullmatch(kind):
        reason = "the body must be JSON, sent as application/json"
    elif charset is not None and charset[1].lower() not in _UTF_8:
        reason = "the body must be encoded as UTF-8"
    else:
        return
    hint = {"accept-patch": _ACCEPTED_PATCHES} if method == "PATCH" else {"accept-post": _ACCEPTED}
    raise UnsupportedMediaType("Content-Type", reason, {"accept": _ACCEPTED, **hint})


def _require_identity(codings: str) -> None:
    if {one.strip().lower() for one in codings.split(",")} - {"", "identity"}:
        reason = "the body must not be compressed"
        raise UnsupportedMediaType("Content-Encoding", reason, {"accept-encoding": "identity"})
