"""Custom headers that a tenant adds to the webhooks of an endpoint: checked, merged, never shown."""

import re
from collections.abc import Iterable, Mapping

# Shown in place of every value.
HIDDEN = "[hidden]"
MAX_HEADERS = 20
MAX_NAME = 128
MAX_VALUE = 4 * 1024
MAX_TOTAL = 16 * 1024

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?|")
_FRAMES = frozenset(
    [
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
# The body is plain JSON, and the answer is read undecoded.
_CONTRACT = frozenset(["accept-encoding", "content-encoding", "content-type"])


def check(headers: Mapping[str, str]) -> str | None:
    """A sentence on the first header that is wrong; None when all may be sent.

    It never contains a value: that may be a secret.
    """
    if len(headers) > MAX_HEADERS:
        return f"There are {len(headers)} headers; the most is {MAX_HEADERS}."
    seen: set[str] = set()
    for name, value in headers.items():
        reason = _misfit(name, value)
        if reason is None and name.lower() in seen:
            reason = "is there twice; upper and lower case are the same"
        if reason is not None:
            return f"The header {name[:MAX_NAME]!r} {reason}."
        seen.add(name.lower())
    total = sum(len(name) + len(value) for name, value in headers.items())
    if total > MAX_TOTAL:
        return f"The headers have {total} characters together; the most is {MAX_TOTAL}."
    return None


def merged(
    known: Mapping[str, str], names: Iterable[str], patch: Mapping[str, str | None]
) -> dict[str, str]:
    """Headers after a merge patch (RFC 7396): null takes one away, and HIDDEN leaves it as it is.

    `known` are their values by names in lower case, `names` as they are written.
    """
    headers = {name: known[name.lower()] for name in names}
    written = {name.lower(): name for name in headers}
    for name, value in patch.items():
        before = written.get(name.lower())
        if value == HIDDEN and before is not None:
            continue
        if before is not None:
            headers.pop(before, None)
        if value is not None:
            headers[name] = value
    return headers


def added(
    ours: tuple[tuple[str, str], ...], custom: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Our headers and then the tenant's; of two with one name, the tenant's stays."""
    theirs = {name.lower(): value for name, value in custom.items()}
    return (*((name, value) for name, value in ours if name not in theirs), *theirs.items())


def _misfit(name: str, value: str) -> str | None:
    if len(name) > MAX_NAME:
        return f"has a name longer than {MAX_NAME} characters"
    if not _NAME.fullmatch(name):
        return "has a name with characters other than letters, digits and !#$%&'*+-.^_`|~"
    reason = _reserved(name.lower())
    if reason is not None:
        return reason
    if len(value) > MAX_VALUE:
        return f"has a value longer than {MAX_VALUE} characters"
    if not _VALUE.fullmatch(value):
        return "has a value with other than printable ASCII, or with a space at its start or end"
    return None


def _reserved(name: str) -> str | None:
    if name in _FRAMES or name.startswith("proxy-"):
        return "belongs to the connection and cannot be set"
    if name in _CONTRACT:
        return "is fixed: the body is plain JSON and the answer is read as it comes"
    if name.startswith("webhook-"):
        return "is reserved: names that begin with webhook- carry the signature"
    return None
