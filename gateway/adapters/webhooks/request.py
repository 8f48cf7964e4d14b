"""Builds the bytes of a webhook request, safe from header injection and request smuggling."""

import re
from functools import lru_cache
from typing import NamedTuple

from gateway.adapters.webhooks.connection import Origin
from gateway.core.webhooks.signed_request import Webhook
from gateway.core.webhooks.ssrf_rules import CheckedUrl

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAMES = 4096
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BRACKETS = str.maketrans({"[": "%5B", "]": "%5D"})
# They frame the request or control the connection, so only this module sets them.
_RESERVED = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


class RequestTarget(NamedTuple):
    """A checked URL, the origin to connect to, and the first lines of the request."""

    target: CheckedUrl
    origin: Origin
    start: str

    @classmethod
    def of(cls, target: CheckedUrl) -> "RequestTarget":
        """Build the target of a URL that passed the checks."""
        scheme, _, authority, rest = target.url.split("/", 3)
        start = f"POST {_origin_form(rest)} HTTP/1.1\r\nHost: {authority}\r\n"
        return cls(target, Origin(target.host, target.port, scheme == "https:"), start)


def request_of(target: RequestTarget, webhook: Webhook) -> bytes | str:
    """Return the whole request, or a sentence that says which header may not be sent."""
    lines = [target.start]
    accept = "Accept: */*\r\n"
    for name, value in webhook.headers:
        if not _may_be_set(name):
            return f"The header {name!r} may not be set."
        if not value.isascii() or not value.isprintable():
            return f"The header {name!r} has a character other than printable ASCII."
        if name == "accept":
            accept = ""
        lines.append(f"{name}: {value}\r\n")
    length = len(webhook.body)
    lines.append(f"{accept}accept-encoding: identity\r\nContent-Length: {length}\r\n\r\n")
    return "".join(lines).encode("ascii") + webhook.body


@lru_cache(_NAMES)
def _may_be_set(name: str) -> bool:
    return _HEADER_NAME.fullmatch(name) is not None and name.lower() not in _RESERVED


def _origin_form(rest: str) -> str:
    """Return path and query of a URL, without dot segments and with special characters encoded."""
    path, _, query = _STRAY_PERCENT.sub("%25", rest.translate(_BRACKETS)).partition("?")
    segments: list[str] = []
    *folders, last = path.split("/")
    for folder in folders:
        if folder == "..":
            del segments[-1:]
        elif folder != ".":
            segments.append(folder)
    if last == "..":
        del segments[-1:]
    segments.append("" if last in (".", "..") else last)
    path = "/" + "/".join(segments)
    return f"{path}?{query}" if query else path
